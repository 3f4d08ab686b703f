//! Registry: the versions in memory, kept in step with what the store commits.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::model::Model;
use crate::serve::Error;
use crate::store::{Change, Served, Store};

/// Versions of one model kept in memory though they are neither the latest nor aliased.
const KEPT_BESIDE: usize = 4;

/// How a request names a version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VersionName {
    /// The newest.
    #[default]
    Latest,
    /// By number.
    Number(u64),
    /// By alias.
    Alias(String),
}

/// A version ready to answer.
#[derive(Clone, Debug)]
pub struct Version {
    /// The model's name.
    pub name: String,
    /// The version's number.
    pub number: u64,
    /// The version itself.
    pub model: Arc<Model>,
}

/// The versions in memory.
pub struct Registry {
    store: Store,
    entries: RwLock<HashMap<String, Entry>>,
    /// Deletions so far: what was read from the store before one of them is not kept.
    deletions: AtomicU64,
    /// Whether a damaged model or alias was left out, of which the store is asked then.
    left_out: bool,
}

#[derive(Default)]
struct Entry {
    latest: u64,
    aliases: BTreeMap<String, u64>,
    /// The latest and the aliased.
    held: BTreeMap<u64, Arc<Model>>,
    /// Others asked for of late, the newest last.
    beside: VecDeque<(u64, Arc<Model>)>,
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "version {} of model {:?}",
            self.number, self.name
        )
    }
}

impl FromStr for VersionName {
    type Err = std::convert::Infallible;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Ok(match name.parse::<u64>() {
            Ok(number) if number.to_string() == name => Self::Number(number),
            _ if name == "latest" => Self::Latest,
            _ => Self::Alias(name.to_owned()),
        })
    }
}

impl Registry {
    /// Loads every model's latest and aliased versions and follows the store from then on.
    ///
    /// A version whose bytes are damaged is left out and logged; the others answer.
    ///
    /// Errors: the store fails.
    pub async fn load(store: &Store) -> Result<Arc<Self>, Error> {
        let Served { models, left_out } = store.served().await?;
        let registry = Arc::new(Self {
            store: store.clone(),
            entries: RwLock::default(),
            deletions: AtomicU64::new(0),
            left_out,
        });
        for (name, latest, aliases) in models {
            let mut entry = Entry {
                latest,
                aliases,
                ..Entry::default()
            };
            for number in entry.wanted() {
                match store.load_version(&name, number).await {
                    Ok(model) => drop(entry.held.insert(number, Arc::new(model))),
                    Err(error) => {
                        tracing::error!(model = name, version = number, %error, "cannot serve a version");
                    }
                }
            }
            registry.write().insert(name, entry);
        }
        let follower = Arc::clone(&registry);
        store.listen(move |change| follower.follow(change));
        Ok(registry)
    }

    /// How many versions are in memory.
    pub(crate) fn loaded(&self) -> usize {
        let entries = self.read();
        let loaded = |entry: &Entry| entry.held.len() + entry.beside.len();
        entries.values().map(loaded).sum()
    }

    /// What it follows.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The version of a model, from memory; one that is neither the latest nor aliased may be read from the store.
    ///
    /// Errors: there is none; its stored bytes are damaged.
    pub async fn version(&self, name: &str, version: &VersionName) -> Result<Version, Error> {
        let deletions = self.deletions.load(Ordering::SeqCst);
        let found = self.find(name, version);
        if found.is_err() && self.left_out {
            self.check_damage(name, version).await?;
        }
        let (number, held) = found?;
        if let Some(model) = held {
            return Ok(Version {
                name: name.to_owned(),
                number,
                model,
            });
        }
        let model = Arc::new(
            self.store
                .load_version(name, number)
                .await
                .map_err(|error| match error {
                    crate::store::Error::NotFound { kind, name } => Error::NotFound { kind, name },
                    other => Error::Store(other),
                })?,
        );
        let mut entries = self.write();
        if self.deletions.load(Ordering::SeqCst) == deletions
            && let Some(entry) = entries.get_mut(name)
        {
            entry.keep_beside(number, Arc::clone(&model));
        }
        drop(entries);
        Ok(Version {
            name: name.to_owned(),
            number,
            model,
        })
    }

    /// Whether what is not there is damaged.
    async fn check_damage(&self, name: &str, version: &VersionName) -> Result<(), Error> {
        let checked = match version {
            VersionName::Alias(alias) => self.store.check_alias(name, alias).await,
            VersionName::Latest | VersionName::Number(_) => self.store.model(name).await.map(drop),
        };
        match checked {
            Err(error) if error.is_damage() => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn find(&self, name: &str, version: &VersionName) -> Result<(u64, Option<Arc<Model>>), Error> {
        let entries = self.read();
        let not_found = |kind, name: String| Error::NotFound { kind, name };
        let entry = entries
            .get(name)
            .ok_or_else(|| not_found("model", name.to_owned()))?;
        let number = match version {
            VersionName::Latest => entry.latest,
            VersionName::Number(number) => *number,
            VersionName::Alias(alias) => {
                let number = entry.aliases.get(alias).copied();
                number.ok_or_else(|| not_found("version", format!("{name}/{alias}")))?
            }
        };
        let beside = || {
            entry
                .beside
                .iter()
                .find(|(kept, _)| *kept == number)
                .map(|(_, model)| model)
        };
        Ok((
            number,
            entry.held.get(&number).or_else(beside).map(Arc::clone),
        ))
    }

    fn follow(&self, change: Change) {
        let mut entries = self.write();
        match change {
            Change::Published {
                name,
                version,
                model,
            } => {
                let entry = entries.entry(name).or_default();
                entry.latest = version;
                entry.held.insert(version, model);
                entry.settle();
            }
            Change::Aliased {
                name,
                alias,
                version,
            } => {
                let entry = entries.entry(name).or_default();
                match version {
                    Some(version) => drop(entry.aliases.insert(alias, version)),
                    None => drop(entry.aliases.remove(&alias)),
                }
                entry.settle();
            }
            Change::VersionDeleted { name, version } => {
                self.deletions.fetch_add(1, Ordering::SeqCst);
                if let Some(entry) = entries.get_mut(&name) {
                    entry.held.remove(&version);
                    entry.beside.retain(|(kept, _)| *kept != version);
                }
            }
            Change::ModelDeleted { name } => {
                self.deletions.fetch_add(1, Ordering::SeqCst);
                entries.remove(&name);
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Entry>> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Numbers of the versions that are to be in memory.
    fn wanted(&self) -> Vec<u64> {
        let mut wanted: Vec<u64> = self
            .aliases
            .values()
            .copied()
            .chain([self.latest])
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    /// Moves versions between those held and those beside, as the latest and the aliases now are.
    fn settle(&mut self) {
        let wanted = self.wanted();
        for (number, model) in std::mem::take(&mut self.held) {
            if wanted.contains(&number) {
                self.held.insert(number, model);
            } else {
                self.keep_beside(number, model);
            }
        }
        for (number, model) in std::mem::take(&mut self.beside) {
            if wanted.contains(&number) {
                self.held.insert(number, model);
            } else {
                self.beside.push_back((number, model));
            }
        }
    }

    fn keep_beside(&mut self, number: u64, model: Arc<Model>) {
        if self.wanted().contains(&number) {
            self.held.insert(number, model);
            return;
        }
        self.beside.retain(|(kept, _)| *kept != number);
        self.beside.push_back((number, model));
        if self.beside.len() > KEPT_BESIDE {
            self.beside.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_named_by_number_latest_or_alias() {
        let name = |text: &str| {
            text.parse::<VersionName>()
                .expect("any text names a version")
        };
        assert_eq!(name("3"), VersionName::Number(3));
        assert_eq!(name("latest"), VersionName::Latest);
        assert_eq!(name("03"), VersionName::Alias("03".to_owned()));
        assert_eq!(name("champion"), VersionName::Alias("champion".to_owned()));
    }
}
