//! The attempts, each with its control.

use crate::scene::{Scene, VARIABLE};

/// How it is shown that an attempt would succeed without a sandbox.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Control {
    /// The same user makes it outside.
    Same,
    /// Root makes it outside: the user could not there either.
    Root,
    /// The same; a kernel that does not have it says so.
    RootIfBuilt,
    /// Somebody makes it outside: for root there is nothing to gain.
    Somebody,
    /// Root makes it in namespaces that `unshare` makes with these arguments.
    RootIn(&'static [&'static str]),
    /// It cannot be shown without harm.
    Impossible(&'static str),
}

/// Where an attempt is expected to get through. The documentation of [`builder_sandbox::Level`] says so too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Through {
    Nowhere,
    /// Where the level is confined.
    Confined,
    /// Everywhere else.
    NotConfined,
    /// In bubblewrap too, where `facts` are missing.
    WithoutFacts,
    /// In bubblewrap started by root.
    AsRoot,
}

type Words = fn(&Scene<'_>) -> Vec<String>;

/// One attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe {
    pub(crate) name: &'static str,
    /// Its name in the program, where several probes are the same attempt on different things.
    pub(crate) attempt: &'static str,
    pub(crate) control: Control,
    pub(crate) inside: Words,
    pub(crate) outside: Words,
    pub(crate) through: Through,
    /// Whether there is anything to attempt without a root of one's own.
    pub(crate) needs_root: bool,
}

const fn probe(name: &'static str, control: Control, words: Words) -> Probe {
    Probe {
        name,
        attempt: name,
        control,
        inside: words,
        outside: words,
        through: Through::Nowhere,
        needs_root: false,
    }
}

impl Probe {
    const fn as_attempt(mut self, attempt: &'static str) -> Self {
        self.attempt = attempt;
        self
    }

    const fn outside(mut self, words: Words) -> Self {
        self.outside = words;
        self
    }

    const fn needs_root(mut self) -> Self {
        self.needs_root = true;
        self
    }

    const fn through(mut self, through: Through) -> Self {
        self.through = through;
        self
    }
}

fn none(_: &Scene<'_>) -> Vec<String> {
    Vec::new()
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(ToOwned::to_owned).to_vec()
}

fn path(path: &std::path::Path) -> Vec<String> {
    vec![path.to_string_lossy().into_owned()]
}

fn two(first: &std::path::Path, second: &std::path::Path) -> Vec<String> {
    [path(first), path(second)].concat()
}

use Control::{Impossible, Root, RootIfBuilt, RootIn, Same, Somebody};

/// All of them.
pub(crate) const PROBES: &[Probe] = &[
    // Network
    probe("tcp", Same, |scene| words([&scene.tcp])),
    probe("udp", Same, |scene| words([&scene.udp])),
    probe("raw-socket", Root, none),
    probe("packet-socket", Root, none),
    probe("vsock-socket", Same, none),
    probe("crypto-socket", RootIfBuilt, none),
    probe("interfaces", Same, none),
    probe("abstract-socket", Same, |scene| words([&scene.abstract_name])),
    probe("path-socket", Same, |scene| path(&scene.socket)),
    probe("declared-socket", Same, |_| words(["/in/socket"]))
        .as_attempt("path-socket")
        .outside(|scene| path(&scene.input.join("socket")))
        .through(Through::NotConfined),
    // Files
    probe("read-file", Same, |scene| path(&scene.secret)),
    probe("write-file", Same, |scene| path(&scene.secret.with_file_name("new"))),
    probe("read-upwards", Same, |scene| path(&scene.secret)),
    probe("list-machine", Same, |scene| {
        let bed = scene.bed.path("");
        two(bed.parent().expect("a folder"), std::path::Path::new(bed.file_name().expect("a name")))
    })
    .as_attempt("list-folder"),
    probe("root-of-first", Root, |scene| words([&format!("/proc/1/root{}", scene.secret.display())]))
        .as_attempt("read-file")
        .outside(|scene| words([&format!("/proc/{}/root{}", scene.victim(), scene.secret.display())])),
    probe("link-in-input", Same, |_| words(["/in/link"]))
        .as_attempt("read-file")
        .outside(|scene| path(&scene.input.join("link"))),
    probe("link-in-output", Same, |_| words(["/out/link"]))
        .as_attempt("read-file")
        .outside(|scene| path(&scene.output.join("link"))),
    probe("write-through-link", Same, |_| words(["/out/link"]))
        .as_attempt("open-to-write")
        .outside(|scene| path(&scene.output.join("link"))),
    probe("write-root", Same, |_| words(["/new"]))
        .as_attempt("write-file")
        .outside(|scene| path(&scene.output.join("new")))
        .needs_root(),
    probe("write-devices", Same, |_| words(["/dev/new"]))
        .as_attempt("write-file")
        .outside(|scene| path(&scene.output.join("new")))
        .needs_root(),
    probe("add-to-input", Same, |_| words(["/in/new"]))
        .as_attempt("write-file")
        .outside(|scene| path(&scene.input.join("new"))),
    probe("change-input", Same, |_| words(["/in/file"]))
        .as_attempt("open-to-write")
        .outside(|scene| path(&scene.input.join("file"))),
    probe("link-out", Same, |_| words(["/in/file", "/out/hard"]))
        .outside(|scene| two(&scene.input.join("file"), &scene.output.join("hard-out"))),
    probe("by-handle", Root, |scene| words(["/in", &scene.handle]))
        .outside(|scene| [path(&scene.input), vec![scene.handle.clone()]].concat()),
    probe("chroot", Root, |_| words(["/"])),
    // Devices
    probe("make-device", Root, |_| words(["/out/device"])).outside(|scene| path(&scene.output.join("zero"))),
    probe("make-device-in-memory", Root, |_| words(["/tmp/device"]))
        .as_attempt("make-device")
        .outside(|scene| path(&scene.output.join("zero-again"))),
    probe("make-block-device", Root, |_| words(["/out/loop"]))
        .outside(|scene| path(&scene.output.join("disk"))),
    probe("device-in-input", Same, |_| words(["/in/device"]))
        .as_attempt("open-to-write")
        .outside(|scene| path(&scene.input.join("device"))),
    probe("kernel-messages", Root, |_| words(["/dev/kmsg"])).as_attempt("open-to-write"),
    // More rights
    probe("set-owner-rights", Same, |_| words(["/out/owner"]))
        .outside(|scene| path(&scene.output.join("owner-out"))),
    probe("create-owner-rights", Same, |_| words(["/out/created"]))
        .outside(|scene| path(&scene.output.join("created-out"))),
    probe("gain-owner", Somebody, |_| words(["/in/owner"])).outside(|scene| path(&scene.input.join("owner"))),
    probe("gain-capability", Somebody, |_| words(["/in/capable"]))
        .outside(|scene| path(&scene.input.join("capable"))),
    probe("raise-capabilities", Root, none),
    // What /proc and /sys tell and take
    probe("sysctl", Root, |_| words(["/proc/sys/vm/drop_caches"])).as_attempt("open-to-write"),
    probe("core-pattern", Root, |_| words(["/proc/sys/kernel/core_pattern"])).as_attempt("open-to-write"),
    probe("system-request", RootIfBuilt, |_| words(["/proc/sysrq-trigger"])).as_attempt("open-to-write"),
    probe("symbols", Same, |_| words(["/proc/kallsyms"]))
        .as_attempt("read-file")
        .through(Through::WithoutFacts),
    probe("keys-of-all", Root, |_| words(["/proc/keys"]))
        .as_attempt("read-file")
        .through(Through::WithoutFacts),
    probe("boot-identity", Same, |_| words(["/proc/sys/kernel/random/boot_id"]))
        .as_attempt("read-file")
        .through(Through::WithoutFacts),
    probe("processor", Same, |_| words(["/proc/cpuinfo"]))
        .as_attempt("read-file")
        .through(Through::WithoutFacts),
    probe("devices-of-all", Same, |_| words(["/sys", "devices"])).as_attempt("list-folder"),
    // Processes
    probe("see-process", Same, |scene| words([&scene.victim()])),
    probe("signal", Same, |scene| words([&scene.victim()])),
    probe("signal-by-descriptor", Same, |scene| words([&scene.victim()])),
    probe("signal-all", Impossible("it would end every process of the machine"), none),
    probe("priority", Same, |scene| words([&scene.victim()])),
    probe("limits-of", Same, |scene| words([&scene.victim()])),
    probe("trace", Root, |scene| words([&scene.victim()])),
    probe("trace-first", Root, |_| words(["1"]))
        .as_attempt("trace")
        .outside(|scene| words([&scene.victim()])),
    probe("read-memory", Root, |scene| words([&scene.victim()])),
    probe("read-memory-of-first", Root, |_| words(["1"]))
        .as_attempt("read-memory")
        .outside(|scene| words([&scene.victim()])),
    probe("open-memory-of-first", Root, |_| words(["1"]))
        .as_attempt("open-memory")
        .outside(|scene| words([&scene.victim()])),
    probe("terminal-input", Same, none),
    probe("shared-memory", Same, |scene| words([&scene.memory_key])),
    probe("message-queue", Same, |scene| words([&scene.queue])),
    // Kernel
    probe("key", Same, |scene| words([&scene.key])),
    probe("new-key", Same, none),
    probe("bpf", RootIfBuilt, none),
    probe("performance-counter", RootIfBuilt, none),
    probe("io-uring", RootIfBuilt, none),
    probe("page-faults", RootIfBuilt, none),
    probe("user-namespace", Same, none),
    probe("clone-user-namespace", Same, none),
    probe("clone3-user-namespace", Same, none),
    probe("mount-namespace", Root, none),
    probe("network-namespace", Root, none),
    probe("enter-namespace", Root, |scene| words([&format!("/proc/{}/ns/net", scene.victim())])),
    probe("enter-namespace-of-first", Root, |_| words(["/proc/1/ns/uts"]))
        .as_attempt("enter-namespace")
        .outside(|scene| words([&format!("/proc/{}/ns/uts", scene.victim())])),
    probe("mount", RootIn(&["--mount"]), |_| words(["/tmp"])),
    probe("mount-new", Root, none),
    probe("remount-writable", RootIn(&["--mount"]), |_| words(["/in"])).outside(|_| words(["/proc"])),
    probe("unmount", RootIn(&["--mount"]), |_| words(["/in"])).outside(|_| words(["/proc"])),
    probe("host-name", RootIn(&["--uts"]), none),
    probe("clock", Root, none),
    probe("kernel-log", RootIfBuilt, none),
    probe("reboot", RootIn(&["--pid", "--fork"]), none),
    probe("swap", RootIfBuilt, none),
    probe("accounting", RootIfBuilt, none),
    probe("ports", RootIfBuilt, none),
    probe("quota", RootIfBuilt, none),
    probe("old-table", RootIfBuilt, none),
    probe("kernel-module", RootIfBuilt, none),
    probe("kexec", RootIfBuilt, none),
    // What was left open, and what is too much
    probe("descriptors", Same, none),
    probe("variable", Same, |_| words([VARIABLE])),
    probe("host-name-of", Same, |scene| words([&scene.host_name])).through(Through::Confined),
    probe("fork-bomb", Same, |_| words(["200"])).through(Through::AsRoot),
    probe("thread-bomb", Same, |_| words(["200"])).through(Through::AsRoot),
    probe("memory", Same, |_| words(["1073741824"])),
    probe("fill-memory", Same, |_| words(["/tmp/file", "4194304"]))
        .as_attempt("fill")
        .outside(|scene| [path(&scene.output.join("filled")), words(["4194304"])].concat())
        .needs_root(),
    probe("fill-file", Same, |_| words(["/out/file", "8388608"]))
        .as_attempt("fill")
        .outside(|scene| [path(&scene.output.join("filled")), words(["8388608"])].concat()),
    probe("open-many", Same, |_| words(["500"])),
    probe("lock-memory", Root, none),
    probe("raise-limit", Same, none),
];
