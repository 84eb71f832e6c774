//! What differs from rollout to rollout by its nature, said in the same words.

use bundles_release::Release;
use jiff::Timestamp;
use registry_wire::Digest;
use test_daemon::lab::Place;

/// A run of so many hexadecimal digits is a hash.
const HASH: usize = 10;
/// A run of exactly so many decimal digits is the moment in the name of a restore point: no hash is as long.
const MOMENT: usize = 14;

/// Names of one rollout and what is said for them.
#[derive(Debug, Clone)]
pub(crate) struct Words(Vec<(String, &'static str)>);

impl Words {
    /// The words of a rollout of `release` over `previous`.
    pub(crate) fn of(
        place: &Place,
        release: &Release,
        previous: &Release,
        images: &[(Digest, &'static str)],
    ) -> Self {
        let mut words = Vec::new();
        let mut digest = |digest: Digest, word| {
            words.push((digest.hex(), word));
            words.push((digest.short(), word));
        };
        digest(release.digest(), "RELEASE");
        digest(previous.digest(), "PREVIOUS");
        for (image, word) in images {
            digest(*image, word);
        }
        words.push((release.version().to_string(), "NEW"));
        words.push((previous.version().to_string(), "OLD"));
        words.push((place.home.clone(), "HOME"));
        words.push((place.target.clone(), "TARGET"));
        words.push((place.channel.clone(), "CHANNEL"));
        Self(words)
    }

    /// The text in the same words for every rollout; hashes and times that are not known become `#` and `TIME`,
    /// the moment in a name `BEGUN`.
    pub(crate) fn say(&self, text: &str) -> String {
        if text.parse::<Timestamp>().is_ok() {
            return "TIME".to_owned();
        }
        let mut text = text.to_owned();
        for (name, word) in &self.0 {
            text = text.replace(name, word);
        }
        without_hashes(&text)
    }
}

fn without_hashes(text: &str) -> String {
    let mut said = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let length = rest.find(|letter: char| !letter.is_ascii_hexdigit()).unwrap_or(rest.len());
        let (run, after) = rest.split_at(length);
        let is_hash = length >= HASH && run.contains(|letter: char| letter.is_ascii_digit());
        let is_moment = length == MOMENT && run.bytes().all(|letter| letter.is_ascii_digit());
        said.push_str(match (is_moment, is_hash) {
            (true, _) => "BEGUN",
            (false, true) => "#",
            (false, false) => run,
        });
        let next = after.chars().next().map_or(0, char::len_utf8);
        said.push_str(&after[..next]);
        rest = &after[next..];
    }
    said
}

#[test]
fn hashes_go_and_words_stay() {
    assert_eq!(
        without_hashes("doc-0123456789ab-0 feedback deadbeefdeadbeef"),
        "doc-#-0 feedback deadbeefdeadbeef"
    );
    assert_eq!(without_hashes("pre-RELEASE-1-20261125150405-cache"), "pre-RELEASE-1-BEGUN-cache");
    assert_eq!(without_hashes("ä sha256:00ff00ff00ff"), "ä sha256:#");
}
