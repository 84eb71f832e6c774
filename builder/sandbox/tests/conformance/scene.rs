//! What there is to be reached outside, made for one user.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, UdpSocket},
    os::{
        fd::{AsFd as _, OwnedFd},
        linux::net::SocketAddrExt as _,
        unix::{
            fs::{PermissionsExt as _, symlink},
            net::{SocketAddr, UnixListener},
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use builder_sandbox::{Mount, Specification};
use rustix::{
    fs::{CWD, FileType, Mode, XattrFlags, makedev},
    io::FdFlags,
};

use crate::{
    bed::{Bed, Who, command_of},
    table::Control,
};

/// A variable of the caller's.
pub(crate) const VARIABLE: &str = "SANDBOX_PROBE_SECRET";

/// Reachable things; those with a process or a file descriptor live as long as this.
pub(crate) struct Scene<'a> {
    pub(crate) bed: &'a Bed,
    pub(crate) who: Who,
    /// A file that is no input.
    pub(crate) secret: PathBuf,
    /// Its handle (`open_by_handle_at`).
    pub(crate) handle: String,
    /// A folder that is an input, at /in.
    pub(crate) input: PathBuf,
    /// A folder that is written to, at /out.
    pub(crate) output: PathBuf,
    pub(crate) tcp: String,
    pub(crate) udp: String,
    pub(crate) abstract_name: String,
    pub(crate) socket: PathBuf,
    pub(crate) key: String,
    pub(crate) memory_key: String,
    pub(crate) queue: String,
    pub(crate) host_name: String,
    victim: Child,
    keeper: Child,
    _open: OwnedFd,
    kernel: KernelObjects,
}

/// What the kernel keeps until it is told otherwise.
struct KernelObjects {
    memory: i32,
    queue: String,
}

impl<'a> Scene<'a> {
    pub(crate) fn make(bed: &'a Bed, who: Who) -> Self {
        let secret = bed.folder_of(who).join("secret");
        fs::write(&secret, "secret").expect("a secret");
        Bed::give(&secret, who);
        let input = bed.folder_of(who);
        let output = bed.folder_of(who);
        fill_input(bed, who, &input, &secret);
        symlink(&secret, output.join("link")).expect("a link");
        let socket = bed.folder_of(who).join("socket");
        let name = format!("sandbox-probe-{}-{who:?}", std::process::id());
        for path in [&socket, &input.join("socket")] {
            greet_local(UnixListener::bind(path).expect("a socket"));
            fs::set_permissions(path, fs::Permissions::from_mode(0o666)).expect("for all");
        }
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        greet_local(UnixListener::bind_addr(&address).expect("an abstract socket"));
        let victim = command_of(who, Path::new("/bin/sleep")).arg("600").spawn().expect("a process");
        let mut keeper = bed.command(who, &["keep-key", &name]);
        let mut keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().expect("piped")).read_line(&mut line).expect("a word");
        assert_eq!(line, "kept\n", "a key is kept");
        let open: OwnedFd = File::open(&secret).expect("it is there").into();
        // Every program that is started from now on has it, unless someone closes it.
        rustix::io::fcntl_setfd(open.as_fd(), FdFlags::empty()).expect("it is open");
        let printed =
            bed.command(Who::Root, &["handle", &secret.to_string_lossy()]).output().expect("it runs");
        Self {
            bed,
            who,
            handle: crate::bed::text(&printed.stdout),
            secret,
            input,
            output,
            tcp: greet_tcp(),
            udp: greet_udp(),
            abstract_name: name.clone(),
            socket,
            key: name.clone(),
            memory_key: std::process::id().to_string(),
            queue: name.clone(),
            host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            victim,
            keeper,
            _open: open,
            kernel: KernelObjects::make(&name),
        }
    }

    pub(crate) fn victim(&self) -> String {
        self.victim.id().to_string()
    }

    pub(crate) fn victim_lives(&mut self) -> bool {
        self.victim.try_wait().expect("it is ours").is_none()
    }

    /// The same command and inputs, where they are outside.
    pub(crate) fn confined_specification(&self, words: &[&str]) -> Specification {
        let mut specification = self.bed.specification(words);
        specification.program = self.bed.program();
        let same = |path: &Path| (path.to_owned(), path.to_owned());
        let [program, input, output] = [same(&self.bed.program()), same(&self.input), same(&self.output)];
        specification.mounts = vec![
            Mount::ReadOnly { source: program.0, target: program.1 },
            Mount::ReadOnly { source: input.0, target: input.1 },
            Mount::Writable { source: output.0, target: output.1 },
        ];
        specification
    }

    pub(crate) fn specification(&self, words: &[&str]) -> Specification {
        let mut specification = self.bed.specification(words);
        specification.mounts.extend([
            Mount::ReadOnly { source: self.input.clone(), target: "/in".into() },
            Mount::Writable { source: self.output.clone(), target: "/out".into() },
        ]);
        specification
    }

    /// The attempt outside.
    pub(crate) fn control(&self, control: &Control, words: &[&str]) -> Command {
        let mut command = match control {
            Control::Same | Control::Impossible(_) => self.bed.command(self.who, words),
            Control::Root | Control::RootIfBuilt => self.bed.command(Who::Root, words),
            Control::Somebody => self.bed.command(Who::Somebody, words),
            Control::RootIn(namespaces) => {
                let mut command = Command::new("unshare");
                command.args(*namespaces).arg(self.bed.program()).args(words);
                command
            }
        };
        command.env(VARIABLE, "secret").current_dir("/").stdin(Stdio::null());
        command
    }

    /// Ends what does not end by itself.
    pub(crate) fn end(mut self) {
        for child in [&mut self.victim, &mut self.keeper] {
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
        }
        self.kernel.remove();
    }
}

fn fill_input(bed: &Bed, who: Who, input: &Path, secret: &Path) {
    fs::write(input.join("file"), "content").expect("a file");
    Bed::give(&input.join("file"), who);
    symlink(secret, input.join("link")).expect("a link");
    let all = Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(CWD, input.join("device"), FileType::CharacterDevice, all, makedev(1, 3))
        .expect("a device");
    fs::set_permissions(input.join("device"), fs::Permissions::from_mode(0o666)).expect("for all");
    for name in ["owner", "capable"] {
        fs::copy(bed.program(), input.join(name)).expect("a program");
    }
    // A program of a third user's, so that even root would become somebody else.
    std::os::unix::fs::chown(input.join("owner"), Some(12345), Some(12345)).expect("root gives");
    fs::set_permissions(input.join("owner"), fs::Permissions::from_mode(0o6755)).expect("root may");
    // VFS_CAP_REVISION_2 with the effective bit; permitted: CAP_NET_RAW (capabilities(7), linux/capability.h).
    let mut value = [0_u8; 20];
    value[..4].copy_from_slice(&0x0200_0001_u32.to_le_bytes());
    value[4..8].copy_from_slice(&(1_u32 << 13).to_le_bytes());
    let name = "security.capability";
    rustix::fs::setxattr(input.join("capable"), name, &value, XattrFlags::empty()).expect("root may");
}

fn greet_local(listener: UnixListener) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            stream.and_then(|mut stream| stream.write_all(b"hello")).unwrap_or_default();
        }
    });
}

fn greet_tcp() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            stream.and_then(|mut stream| stream.write_all(b"hello")).unwrap_or_default();
        }
    });
    address
}

fn greet_udp() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address").to_string();
    thread::spawn(move || {
        while let Ok((_, sender)) = socket.recv_from(&mut [0; 16]) {
            socket.send_to(b"hello", sender).unwrap_or_default();
        }
    });
    address
}

#[allow(unsafe_code, reason = "no safe crate of ours has these calls")]
impl KernelObjects {
    fn make(name: &str) -> Self {
        let key = i32::try_from(std::process::id()).expect("it is small");
        let queue = std::ffi::CString::new(name).expect("a name");
        // SAFETY: numbers, a name that lives, and no attributes.
        let (memory, made) = unsafe {
            let flags = libc::O_CREAT | libc::O_RDWR | libc::O_CLOEXEC;
            (
                libc::shmget(key, 4096, libc::IPC_CREAT | 0o666),
                libc::syscall(libc::SYS_mq_open, queue.as_ptr(), flags, 0o666, std::ptr::null::<u8>()),
            )
        };
        assert!(memory >= 0 && made >= 0, "{}", std::io::Error::last_os_error());
        Self { memory, queue: name.to_owned() }
    }

    fn remove(&self) {
        let queue = std::ffi::CString::new(self.queue.as_str()).expect("a name");
        // SAFETY: numbers and a name that lives.
        unsafe {
            libc::shmctl(self.memory, libc::IPC_RMID, std::ptr::null_mut());
            libc::syscall(libc::SYS_mq_unlink, queue.as_ptr());
        }
    }
}
