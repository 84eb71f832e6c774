//! `trust.toml`: who may sign what, as people write it.

use std::collections::{BTreeMap, BTreeSet};

use bundles_release::ProductName;
use bundles_trust::{Channel, ChannelName, Owner, Role, RootFault};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Document, Problem, Problems,
    check::{check, nearest},
    name::{ChannelNameText, ExpiryText, OwnerText, ProductNameText},
    schema,
};

/// `trust.toml`: the trust root of a product as its owners write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "trust.toml")]
pub struct TrustDocument {
    /// The product that it is for.
    #[schemars(with = "ProductNameText")]
    pub product: ProductName,
    /// From when on nothing new is accepted under it. What runs goes on.
    #[serde(with = "time")]
    #[schemars(with = "ExpiryText")]
    pub expires: Timestamp,
    /// Who holds keys: a person, a team or a machine.
    #[schemars(with = "BTreeMap<OwnerText, OwnerKeys>")]
    pub owners: BTreeMap<Owner, OwnerKeys>,
    /// Who may sign what.
    pub roles: TrustRoles,
}

/// The keys of one owner. However many sign, the owner counts once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OwnerKeys {
    /// Files of public keys, from the folder of this file.
    #[schemars(length(min = 1))]
    pub keys: Vec<String>,
}

/// Who may sign what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TrustRoles {
    /// Trust roots: this one and the next.
    pub root: RoleOwners,
    /// Releases.
    pub release: RoleOwners,
    /// Promotions, for each channel.
    #[serde(default)]
    #[schemars(with = "BTreeMap<ChannelNameText, RoleOwners>")]
    pub channel: BTreeMap<ChannelName, RoleOwners>,
}

/// The owners of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RoleOwners {
    /// Who has the role.
    #[schemars(with = "Vec<OwnerText>", length(min = 1))]
    pub owners: Vec<Owner>,
    /// How many of them must sign; for a channel more than half.
    #[schemars(range(min = 1, max = 64))]
    pub threshold: u32,
}

mod time {
    use jiff::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// A `trust.toml` whose form is right and whose roles name owners that it has.
#[derive(Debug, Clone)]
pub struct TrustFile {
    document: Document,
    content: TrustDocument,
}

impl TrustFile {
    /// Parses and checks the text of `file`, which is named in problems.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let document = Document::parse(file, text).map_err(|problem| Problems::from(*problem))?;
        Problems::none_of(check(&document, &schema::trust_schema()))?;
        let content = document.read().map_err(|problem| Problems::from(*problem))?;
        let file = Self { document, content };
        Problems::none_of(file.owner_problems())?;
        Ok(file)
    }

    /// What it says.
    pub const fn content(&self) -> &TrustDocument {
        &self.content
    }

    /// Every role with its owners.
    pub fn roles(&self) -> impl Iterator<Item = (Role, &RoleOwners)> {
        let TrustDocument { product, roles: TrustRoles { root, release, channel }, .. } = &self.content;
        let channels = channel
            .iter()
            .map(|(name, owners)| (Role::Channel(Channel::new(product.clone(), name.clone())), owners));
        [(Role::Root, root), (Role::Release, release)].into_iter().chain(channels)
    }

    /// A problem with one key of an owner.
    pub fn key_problem(&self, owner: &Owner, key: usize, message: impl Into<String>) -> Problem {
        let key = key.to_string();
        Problem::new(self.document.location(&["owners", owner.as_str(), "keys", &key]), message)
    }

    /// The rule of trust roots that this file breaks, at its place.
    pub fn fault_problem(&self, fault: &RootFault) -> Problem {
        let path = match fault {
            RootFault::Threshold { role, .. } | RootFault::Fork { role, .. } => {
                let mut path = path_of(role);
                path.push("threshold");
                path
            }
            RootFault::DevelopmentKey { .. } => vec!["owners", "development"],
            _ => vec!["owners"],
        };
        Problem::new(self.document.location(&path), format!("the trust root breaks a rule: {fault}"))
    }

    fn owner_problems(&self) -> Vec<Problem> {
        let known: Vec<&str> = self.content.owners.keys().map(Owner::as_str).collect();
        let mut problems = Vec::new();
        for (role, members) in self.roles() {
            let mut seen = BTreeSet::new();
            for (index, owner) in members.owners.iter().enumerate() {
                let index = index.to_string();
                let mut path = path_of(&role);
                path.extend(["owners", &index]);
                let place = self.document.location(&path);
                if !self.content.owners.contains_key(owner) {
                    let problem = Problem::new(place, format!("there is no owner `{owner}`"));
                    problems.push(problem.helping(match nearest(owner.as_str(), &known) {
                        Some(best) => format!("did you mean `{best}`?"),
                        None => format!("declare it under [owners.{owner}]"),
                    }));
                } else if !seen.insert(owner) {
                    let problem = Problem::new(place, format!("`{owner}` stands twice"));
                    problems.push(problem.helping("an owner counts once, however often it is named"));
                }
            }
        }
        problems
    }
}

fn path_of(role: &Role) -> Vec<&str> {
    match role {
        Role::Root => vec!["roles", "root"],
        Role::Release => vec!["roles", "release"],
        Role::Channel(channel) => vec!["roles", "channel", channel.name.as_str()],
    }
}
