//! A disk that is full while images are built: a clear refusal, nothing half-written, and the images of any other disk
//! as soon as there is room.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use registry_wire::Digest;
use test_interop::{
    platform,
    program::{run, system},
    served::{self, text},
};

use crate::scratch;

const DISK: u64 = 192 << 20;
/// So much room is made after each refusal: less than the largest layer, so that every stage meets the full disk.
const ROOM: u64 = 4 << 20;
/// Exit code of what fails on this machine.
const MACHINE: i32 = 1;

/// An ext4 in a file, mounted.
struct Disk {
    image: PathBuf,
    root: PathBuf,
}

impl Disk {
    fn mount(folder: &Path) -> Result<Self> {
        let disk = Self { image: folder.join("image"), root: folder.join("root") };
        // What a run left that was killed.
        disk.release()?;
        fs::create_dir_all(&disk.root)?;
        File::create(&disk.image)?.set_len(DISK)?;
        run(system("mkfs.ext4")?.args(["-q", "-F", "-m", "0"]).arg(&disk.image))?;
        run(system("mount")?.args(["-o", "loop"]).arg(&disk.image).arg(&disk.root))
            .context("these tests run as root, who may mount")?;
        Ok(disk)
    }

    fn is_mounted(&self) -> Result<bool> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        Ok(mounts.lines().any(|line| line.split(' ').nth(1) == self.root.to_str()))
    }

    /// Unmounts; the kernel frees the loop device with the last mount of it.
    fn release(&self) -> Result<()> {
        if self.is_mounted()? {
            run(system("umount")?.arg(&self.root))?;
        }
        Ok(())
    }

    /// Files of `ROOM` bytes until nothing is left.
    fn fill(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        loop {
            let path = self.root.join(format!("ballast-{}", files.len()));
            let written = File::create(&path)
                .and_then(|mut file| io::copy(&mut io::repeat(1).take(ROOM), &mut file))
                .map(drop);
            files.push(path);
            match written {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(files),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let released = self.release();
        assert!(std::thread::panicking() || released.is_ok(), "{released:?}");
    }
}

/// Whatever is visible in a store is whole: its name or its checksum says so. Returns how many files were looked at.
fn check_store(store: &Path) -> Result<usize> {
    let files = |folder: &str| -> Result<Vec<PathBuf>> {
        let folder = store.join(folder);
        if !folder.exists() {
            return Ok(Vec::new());
        }
        Ok(fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?)
    };
    let (blobs, steps) = (files("blobs/sha256")?, files("steps")?);
    for path in &blobs {
        let hex = Digest::of(&fs::read(path)?).hex();
        ensure!(path.ends_with(&hex), "{} has other bytes", path.display());
    }
    for path in &steps {
        let bytes = fs::read(path)?;
        let (sum, document) = bytes.split_at_checked(32).context("a step begins with its checksum")?;
        ensure!(Digest::of(document).as_bytes() == sum, "step {} is damaged", path.display());
    }
    let partial = files("partial")?;
    ensure!(partial.is_empty(), "left behind: {partial:?}");
    let format = fs::read(store.join("format")).unwrap_or_default();
    ensure!(format.is_empty() != store.join("format").exists(), "the store's form is half-written");
    Ok(blobs.len() + steps.len())
}

#[test]
fn a_build_on_a_full_disk_is_refused_and_goes_on_when_there_is_room() -> Result<()> {
    let recipes = platform::recipes()?;
    let arguments = ["build", "cache", "--platform", text(&recipes)?];
    let elsewhere = tempfile::tempdir()?;
    let expected = served::bundle(scratch(), &elsewhere.path().join("home"))?.json(arguments)?;
    let expected = platform::images(&expected)?["cache"].digest;

    let folder = scratch().join("full-disk");
    fs::create_dir_all(&folder)?;
    let disk = Disk::mount(&folder)?;
    let bundle = served::bundle(scratch(), &disk.root.join("home"))?;
    let store = bundle.home().join("store");
    let mut ballast = disk.fill()?;
    let (mut unpacking, mut encoding) = (0, 0);
    let built = loop {
        let output = bundle.command(arguments).output()?;
        if output.status.success() {
            break platform::images(&serde_json::from_slice(&output.stdout)?)?["cache"];
        }
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(MACHINE), "{}: {said}", output.status);
        ensure!(said.contains("No space left on device"), "{said}");
        ensure!(said.contains(text(&store)?), "the file is named: {said}");
        ensure!(said.contains("\n  try: df -h") && said.contains("type the same command again"), "{said}");
        let count = check_store(&store)?;
        if said.contains("encoding layers") {
            encoding += 1;
        } else {
            unpacking += 1;
        }
        println!("{count} whole files with {} MB of ballast", ballast.len() as u64 * (ROOM >> 20));
        fs::remove_file(ballast.pop().context("all the room was not enough")?)?;
    };
    ensure!(unpacking > 1 && encoding > 1, "refused {unpacking} times while unpacking, {encoding} after it");
    ensure!(built.digest == expected, "{} instead of {expected}", built.digest);
    let again = platform::images(&bundle.json(arguments)?)?["cache"];
    ensure!(built.built && !again.built, "it was built once there was room, and kept");
    ensure!(check_store(&store)? > 10, "the store holds the image");

    disk.release()?;
    // Another program may still be looking at the device.
    let devices = || run(system("losetup")?.arg("--associated").arg(&disk.image));
    let begun = Instant::now();
    while !devices()?.is_empty() && begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let left = devices()?;
    ensure!(left.is_empty(), "a loop device is left: {}", String::from_utf8_lossy(&left));
    fs::remove_file(&disk.image)?;
    Ok(())
}
