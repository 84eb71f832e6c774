//! Attempts to reach what lies outside, each by its name. An attempt that gets through ends well; one that is held back
//! ends with what the system said.

mod files;
mod kernel;
mod load;
mod network;
mod processes;

use std::io;

pub(crate) use self::{files::print_handle, load::mark_on, processes::gained};

/// Keeps a key in the user's keyring while standard input is open.
pub(crate) fn keep_key(description: &str) -> io::Result<()> {
    kernel::add_key(description, libc::KEY_SPEC_USER_KEYRING)?;
    crate::plain::say("kept")?;
    io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
}

/// Makes one attempt. None of that name is an error of its own.
pub(crate) fn make(name: &str, arguments: &[&str]) -> Option<io::Result<()>> {
    let first = arguments.first().copied().unwrap_or_default();
    let second = arguments.get(1).copied().unwrap_or_default();
    Some(match name {
        "tcp" => network::tcp(first),
        "connect" => network::connect(first),
        "udp" => network::udp(first),
        "raw-socket" => network::open(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
        "packet-socket" => network::open(libc::AF_PACKET, libc::SOCK_RAW, 0),
        "vsock-socket" => network::open(libc::AF_VSOCK, libc::SOCK_STREAM, 0),
        "crypto-socket" => network::open(libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
        "interfaces" => network::interfaces(),
        "abstract-socket" => network::abstract_socket(first),
        "path-socket" => network::path_socket(first),
        "read-file" => files::read(first),
        "read-upwards" => files::read_upwards(first),
        "list-root" => files::list(&format!("{first}/root"), second),
        "list-folder" => files::list(first, second),
        "write-file" => files::write(first),
        "open-to-write" => files::open_to_write(first),
        "link-out" => files::link(first, second),
        "make-device" => files::make_device(first, false),
        "make-block-device" => files::make_device(first, true),
        "by-handle" => files::by_handle(first, second),
        "chroot" => files::chroot(first),
        "set-owner-rights" => files::set_owner_rights(first),
        "create-owner-rights" => files::create_owner_rights(first),
        "gain-owner" => processes::gain(first, "user"),
        "gain-capability" => processes::gain(first, "capability"),
        "trace" => processes::trace(first),
        "read-memory" => processes::read_memory(first),
        "open-memory" => files::open_to_write(&format!("/proc/{first}/mem")),
        "signal" => processes::signal(first),
        "signal-by-descriptor" => processes::signal_by_descriptor(first),
        "signal-all" => processes::signal_all(),
        "see-process" => files::list(&format!("/proc/{first}"), "status"),
        "priority" => processes::priority(first),
        "limits-of" => processes::limits_of(first),
        "terminal-input" => processes::terminal_input(),
        "key" => kernel::key(first),
        "new-key" => kernel::new_key(),
        "bpf" => kernel::bpf(),
        "performance-counter" => kernel::performance_counter(),
        "io-uring" => kernel::io_uring(),
        "page-faults" => kernel::page_faults(),
        "user-namespace" => kernel::unshare(libc::CLONE_NEWUSER),
        "mount-namespace" => kernel::unshare(libc::CLONE_NEWNS),
        "network-namespace" => kernel::unshare(libc::CLONE_NEWNET),
        "clone-user-namespace" => kernel::clone_user_namespace(),
        "clone3-user-namespace" => kernel::clone3_user_namespace(),
        "enter-namespace" => kernel::enter_namespace(first),
        "mount" => kernel::mount(first),
        "mount-new" => kernel::mount_new(),
        "remount-writable" => kernel::remount_writable(first),
        "unmount" => kernel::unmount(first),
        "host-name" => kernel::host_name(),
        "clock" => kernel::clock(),
        "kernel-log" => kernel::kernel_log(),
        "reboot" => kernel::reboot(),
        "swap" => kernel::swap(),
        "accounting" => kernel::accounting(),
        "ports" => kernel::ports(),
        "quota" => kernel::quota(),
        "old-table" => kernel::old_table(),
        "kernel-module" => kernel::kernel_module(),
        "kexec" => kernel::kexec(),
        "raise-capabilities" => kernel::raise_capabilities(),
        "shared-memory" => kernel::shared_memory(first),
        "message-queue" => kernel::message_queue(first),
        "descriptors" => load::inherited(),
        "variable" => load::variable(first),
        "host-name-of" => load::host_name_of(first),
        "fork-bomb" => load::fork_bomb(first),
        "thread-bomb" => load::thread_bomb(first),
        "memory" => load::memory(first),
        "fill" => load::fill(first, second),
        "open-many" => load::open_many(first),
        "spin" => load::spin(first),
        "lock-memory" => load::lock_memory(),
        "raise-limit" => load::raise_limit(),
        "flood" => load::flood(first),
        "linger" => load::linger(first),
        _ => return None,
    })
}

/// What the system said when a call that returns -1 for that did.
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A call that was let past the guard, and failed for another reason.
fn is_past_guard(result: libc::c_long, reasons: &[i32]) -> io::Result<()> {
    match check(result) {
        Err(error) if error.raw_os_error().is_some_and(|number| reasons.contains(&number)) => Ok(()),
        result => result.map(drop),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> io::Result<T> {
    text.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}
