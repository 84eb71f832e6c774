//! The same release comes out everywhere: each variation builds from an empty store and shows that it took effect in
//! the very process that becomes the executable.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use registry_wire::Digest;
use serde_json::Value;
use tempfile::TempDir;
use test_interop::{
    platform,
    program::{self, installed, run},
    served::{self, Served},
    tool::{Bundle, workspace},
};

use crate::scratch;

/// What must be equal.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    release: Digest,
    images: BTreeMap<String, Digest>,
}

/// How a build differs from the plain one.
#[derive(Default)]
struct Variation {
    /// Runs the shell, and so everything.
    wrapper: Vec<String>,
    /// Shell, before anything else: may set `PLATFORM` and `HOME_FOLDER`.
    before: &'static str,
    /// Shell that prints what shows that the variation took effect; runs in the process that builds.
    proof: &'static str,
    environment: Vec<(&'static str, &'static str)>,
    executable: Option<PathBuf>,
}

/// A folder of its own for one build, readable by everybody.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("bundle-interop-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Builds images, then the release. Returns what the proof printed and what came out.
    fn build(&self, variation: &Variation) -> Result<(String, Outcome)> {
        let mut command = self.command(variation)?;
        let output = run(&mut command)?;
        parse(&output).with_context(|| format!("{command:?} writes:\n{}", String::from_utf8_lossy(&output)))
    }

    fn command(&self, variation: &Variation) -> Result<Command> {
        // The proof runs in the process whose children build: they have its user, umask, environment and mounts.
        let script = format!(
            r#"set -eu
HOME_FOLDER=$PLACE/home PLATFORM=$RECIPES
{}
mkdir -p "$HOME_FOLDER"
[ -e "$HOME_FOLDER/downloads" ] || ln -s "$DOWNLOADS" "$HOME_FOLDER/downloads"
[ ! -e "$HOME_FOLDER/store" ]
{}
echo '=== images'
"$BUNDLE" --json --home "$HOME_FOLDER" build --platform "$PLATFORM"
echo '=== release'
"$BUNDLE" --json --home "$HOME_FOLDER" release --platform "$PLATFORM"
"#,
            variation.before, variation.proof
        );
        let mut words = variation.wrapper.clone();
        words.extend(["/bin/sh".to_owned(), "-c".to_owned(), script]);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(self.path()).stdin(Stdio::null()).env_clear();
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs([("LC_ALL", "C"), ("TZ", "UTC")]).env("PLACE", self.path());
        command.env("RECIPES", platform::recipes()?).env("DOWNLOADS", served::downloads(scratch())?);
        command.env(
            "BUNDLE",
            match &variation.executable {
                Some(executable) => executable.clone(),
                None => served::executable(scratch())?,
            },
        );
        command.envs(variation.environment.iter().copied());
        Ok(command)
    }
}

fn parse(output: &[u8]) -> Result<(String, Outcome)> {
    let text = std::str::from_utf8(output)?;
    let (proof, rest) = text.split_once("=== images\n").context("the proof ends")?;
    let (images, release) = rest.split_once("=== release\n").context("the images end")?;
    let images = platform::images(&serde_json::from_str(images)?)?;
    ensure!(images.values().all(|image| image.built), "the store was empty: {images:?}");
    let release: Value = serde_json::from_str(release)?;
    let release = release["digest"].as_str().context("a release has a digest")?.parse()?;
    Ok((
        proof.trim().to_owned(),
        Outcome { release, images: images.into_iter().map(|(name, image)| (name, image.digest)).collect() },
    ))
}

/// What a plain build makes.
fn expected() -> Result<&'static Outcome> {
    static EXPECTED: OnceLock<Result<Outcome, String>> = OnceLock::new();
    let expected = EXPECTED.get_or_init(|| {
        let made = Place::new().and_then(|place| place.build(&Variation::default()));
        made.map(|(_, outcome)| outcome).map_err(|error| format!("{error:#}"))
    });
    expected.as_ref().map_err(|error| anyhow::anyhow!(error.clone()))
}

/// Builds under a variation; fails unless the same comes out. Returns the proof.
#[expect(clippy::print_stdout, reason = "shown with --nocapture")]
fn check(place: &Place, variation: &Variation) -> Result<String> {
    let (proof, outcome) = place.build(variation)?;
    let expected = expected()?;
    ensure!(outcome == *expected, "{outcome:?} instead of {expected:?}");
    println!("{proof}: {}", outcome.release);
    Ok(proof)
}

#[test]
fn again_from_an_empty_store_and_as_bundle_up_made_it() -> Result<()> {
    check(&Place::new()?, &Variation::default())?;
    let served = Served::shared(scratch())?;
    let images = served.images.iter().map(|(name, image)| (name.clone(), image.digest)).collect();
    let up = Outcome { release: served.release, images };
    ensure!(up == *expected()?, "bundle up made {up:?} instead of {:?}", expected()?);
    Ok(())
}

#[test]
fn from_another_folder_with_other_times() -> Result<()> {
    let variation = Variation {
        before: r#"PLATFORM="$PLACE/a folder/deeper/product"
mkdir -p "$PLACE/a folder/deeper"
cp -r "$RECIPES" "$PLATFORM"
find "$PLATFORM" -exec touch -d '2001-02-03 04:05:06' {} +
cd "$PLATFORM/api""#,
        proof: r#"pwd; stat -c %y "$PLATFORM/api/app/server.js""#,
        ..Variation::default()
    };
    let proof = check(&Place::new()?, &variation)?;
    ensure!(proof.contains("/a folder/deeper/product/api\n2001-02-03 04:05:06"), "{proof}");
    Ok(())
}

#[test]
fn as_another_user() -> Result<()> {
    const NOBODY: u32 = 65_534;
    let place = Place::new()?;
    // The clone and the home of the first user may be closed to others.
    platform::copy(&platform::recipes()?, &place.path().join("recipes"))?;
    platform::copy(&served::downloads(scratch())?, &place.path().join("home/downloads"))?;
    let executable = place.path().join("bundle");
    fs::copy(served::executable(scratch())?, &executable)?;
    run(program::system("find")?.arg(place.path()).args(["-exec", "chown", "-h", "65534:65534", "{}", "+"]))
        .context("these tests run as root, who may become another user")?;
    let setpriv = installed("setpriv")?.display().to_string();
    let variation = Variation {
        wrapper: [
            &setpriv,
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--no-new-privs",
        ]
        .map(str::to_owned)
        .to_vec(),
        before: "PLATFORM=$PLACE/recipes",
        proof: "id -u; id -g",
        executable: Some(executable),
        ..Variation::default()
    };
    let proof = check(&place, &variation)?;
    ensure!(proof == "65534\n65534", "{proof}");
    let owner = fs::metadata(place.path().join("home/store/format"))?.uid();
    ensure!(owner == NOBODY, "the store belongs to {owner}");
    ensure!(fs::metadata(served::executable(scratch())?)?.uid() != NOBODY, "the first user is another");
    Ok(())
}

#[test]
fn under_another_umask() -> Result<()> {
    let place = Place::new()?;
    let variation = Variation {
        before: "umask 077; cp -r \"$RECIPES\" \"$PLACE/recipes\"; PLATFORM=$PLACE/recipes",
        proof: r#"umask; stat -c %a "$PLATFORM/api/app/server.js" "$PLATFORM/api/app""#,
        ..Variation::default()
    };
    let proof = check(&place, &variation)?;
    ensure!(proof == "0077\n600\n700", "{proof}");
    let mode = |path: &str| Ok::<_, std::io::Error>(fs::metadata(place.path().join(path))?.mode() & 0o777);
    ensure!((mode("home/store")?, mode("home/store/format")?) == (0o700, 0o600), "what it wrote is its own");
    Ok(())
}

#[test]
fn in_another_time_zone_and_locale() -> Result<()> {
    let variation = Variation {
        environment: vec![("TZ", "Asia/Kathmandu"), ("LC_ALL", "C.UTF-8"), ("LANG", "tr_TR.UTF-8")],
        proof: "date +%z; locale charmap",
        ..Variation::default()
    };
    let proof = check(&Place::new()?, &variation)?;
    ensure!(proof == "+0545\nUTF-8", "{proof} (the zones are in the package tzdata)");
    Ok(())
}

/// A static executable cannot be given another clock: the same sources, linked dynamically.
fn dynamic() -> Result<PathBuf> {
    let target = workspace()?.join("target/dynamic");
    let cargo = std::env::var_os("CARGO").context("the tests are run by cargo")?;
    let mut build = Command::new(cargo);
    build.current_dir(workspace()?).args([
        "build",
        "--release",
        "--locked",
        "--quiet",
        "--package",
        "bundle",
    ]);
    build.arg("--target-dir").arg(&target).env("RUSTFLAGS", "-C target-feature=-crt-static");
    build.env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("CARGO_BUILD_RUSTFLAGS").stdin(Stdio::null());
    run(&mut build)?;
    // target/TRIPLE/release/bundle
    let executable = test_interop::tool::executable()?;
    let triple = executable.ancestors().nth(2).and_then(Path::file_name);
    let triple = triple.context("the executable is in a triple's folder")?;
    Ok(target.join(triple).join("release/bundle"))
}

#[test]
fn on_another_date() -> Result<()> {
    let dynamic = dynamic()?;
    let faketime = installed("faketime")?.display().to_string();
    let wrapper = vec![faketime, "2037-03-04 05:06:07".to_owned()];
    let place = Place::new()?;
    let variation = Variation {
        wrapper: wrapper.clone(),
        proof: "date +%Y-%m-%d",
        executable: Some(dynamic.clone()),
        ..Variation::default()
    };
    let proof = check(&place, &variation)?;
    ensure!(proof == "2037-03-04", "{proof}");

    // The executable itself sees that date: what must carry one does.
    let fresh = Place::new()?;
    let bundle = Bundle::new(&dynamic, &fresh.path().join("home"));
    platform::copy(&served::downloads(scratch())?, &bundle.home().join("downloads"))?;
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    // faketime ends when the last process below it does, and `up` leaves a registry: both in one shell.
    let script = r#""$BUNDLE" --json up "$RECIPES" --listen "$ADDRESS"; "$BUNDLE" down >&2"#;
    let mut up = Command::new(&wrapper[0]);
    up.args(&wrapper[1..]).args(["/bin/sh", "-c", script]).stdin(Stdio::null());
    up.env("BUNDLE", &dynamic).env("BUNDLE_HOME", bundle.home()).env("ADDRESS", &address);
    let document: Value = serde_json::from_slice(&run(up.env("RECIPES", platform::recipes()?))?)?;
    ensure!(document["release"] == expected()?.release.to_string(), "bundle up made {}", document["release"]);
    let product = platform_name(&document)?;
    let root: Value =
        serde_json::from_slice(&fs::read(bundle.home().join("keys").join(product).join("trust-root.json"))?)?;
    let inside = |text: &Value| {
        let text = text.as_str().context("base64 is text")?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text)?;
        Ok::<Value, anyhow::Error>(serde_json::from_slice(&bytes)?)
    };
    let statement = inside(&inside(&root["layers"][0]["data"])?["dsseEnvelope"]["payload"])?;
    let expires = statement["predicate"]["expires"].as_str().context("a trust root expires")?;
    ensure!(expires.starts_with("2038-03-04"), "the trust root was made for {expires}");
    println!("the trust root made on that date expires {expires}");
    Ok(())
}

/// The product, from the channel `PRODUCT/CHANNEL`.
fn platform_name(document: &Value) -> Result<&str> {
    let channel = document["channel"].as_str().context("a record has a channel")?;
    channel.split('/').next().context("a channel begins with its product")
}

/// Mounts in a namespace of its own, which takes them along when it ends.
fn mounted(before: &'static str) -> Result<Variation> {
    Ok(Variation {
        wrapper: vec![installed("unshare")?.display().to_string(), "--mount".to_owned()],
        before,
        proof: r#"stat -f -c %T "$HOME_FOLDER" "$PLATFORM" "$HOME_FOLDER/downloads"; stat -f -c %S "$HOME_FOLDER""#,
        ..Variation::default()
    })
}

#[test]
fn on_a_file_system_in_memory() -> Result<()> {
    let variation = mounted(
        r#"mkdir "$PLACE/mount"; mount -t tmpfs -o size=1g none "$PLACE/mount"
HOME_FOLDER=$PLACE/mount/home PLATFORM=$PLACE/mount/recipes
mkdir "$HOME_FOLDER"; cp -r "$RECIPES" "$PLATFORM"; cp -rL "$DOWNLOADS" "$HOME_FOLDER/downloads""#,
    )?;
    let proof = check(&Place::new()?, &variation)?;
    ensure!(proof.starts_with("tmpfs\ntmpfs\ntmpfs\n"), "{proof}");
    Ok(())
}

#[test]
fn on_an_ext4_of_small_blocks_without_directory_index() -> Result<()> {
    installed("mkfs.ext4")?;
    let variation = mounted(
        r#"truncate -s 1G "$PLACE/disk"; mkfs.ext4 -q -F -b 1024 -O ^dir_index,^extent,^64bit "$PLACE/disk"
mkdir "$PLACE/mount"; mount -o loop,noatime "$PLACE/disk" "$PLACE/mount"
HOME_FOLDER=$PLACE/mount/home PLATFORM=$PLACE/mount/recipes
mkdir "$HOME_FOLDER"; cp -r "$RECIPES" "$PLATFORM"; cp -rL "$DOWNLOADS" "$HOME_FOLDER/downloads""#,
    )?;
    let place = Place::new()?;
    let proof = check(&place, &variation)?;
    ensure!(proof == "ext2/ext3\next2/ext3\next2/ext3\n1024", "{proof}");
    ensure!(!place.path().join("mount/home").exists(), "the mount ended with its namespace");
    Ok(())
}

/// Most threads at one time of any process below this one.
fn peak_threads(mut command: Command) -> Result<(usize, Vec<u8>)> {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let shell = child.id();
    let watch = std::thread::spawn(move || {
        let mut peak = 0;
        while Path::new(&format!("/proc/{shell}/task")).exists() {
            let children =
                fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap_or_default();
            for process in children.split_whitespace() {
                let threads = fs::read_dir(format!("/proc/{process}/task")).map_or(0, Iterator::count);
                peak = peak.max(threads);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        peak
    });
    let output = child.wait_with_output()?;
    let peak = watch.join().ok().context("the watch ends")?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok((peak, output.stdout))
}

#[test]
fn with_one_thread_and_with_seven() -> Result<()> {
    let mut peaks = Vec::new();
    for (threads, text) in [(1, "1"), (7, "7")] {
        let place = Place::new()?;
        let variation = Variation { environment: vec![("RAYON_NUM_THREADS", text)], ..Variation::default() };
        let (peak, output) = peak_threads(place.command(&variation)?)?;
        let (_, outcome) = parse(&output)?;
        ensure!(outcome == *expected()?, "{threads} threads: {outcome:?} instead of {:?}", expected()?);
        peaks.push(peak);
    }
    ensure!(peaks[1] == peaks[0] + 6, "six threads more: {peaks:?}");
    println!("threads at most: {peaks:?}");
    Ok(())
}
