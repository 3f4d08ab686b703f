//! Registry: the versions in memory, kept in step with what the store commits.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::machine::{Budget, Reservation, Use};
use crate::model::Model;
use crate::serve::Error;
use crate::serve::loaded::{Loaded, bytes_of};
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
    pub model: Arc<Loaded>,
}

/// The versions in memory: the latest and the aliased, and some that were asked for of late, as far as the budget goes. Those that
/// have not been asked for longest make room, and are read again from the store when they are asked for.
pub struct Registry {
    store: Store,
    memory: Budget,
    /// Held by the one who reads a version: many who ask for the same one wait for it rather than read it side by side.
    reading: tokio::sync::Mutex<()>,
    /// Counts the questions, so that versions can say when they were asked last.
    clock: AtomicU64,
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
    held: BTreeMap<u64, Arc<Loaded>>,
    /// Others asked for of late, the newest last.
    beside: VecDeque<(u64, Arc<Loaded>)>,
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
    /// Loads every model's latest and aliased versions, as long as there is memory for them, and follows the store from then on.
    ///
    /// A version whose bytes are damaged is left out and logged; the others answer.
    ///
    /// Errors: the store fails.
    pub async fn load(store: &Store, memory: Budget) -> Result<Arc<Self>, Error> {
        let Served { models, left_out } = store.served().await?;
        let registry = Arc::new(Self {
            store: store.clone(),
            memory,
            reading: tokio::sync::Mutex::default(),
            clock: AtomicU64::new(0),
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
                match registry.read_version(&name, number).await {
                    Ok(model) => drop(entry.held.insert(number, model)),
                    Err(Error::Memory(short)) => {
                        tracing::info!(model = name, version = number, %short, "a version is read when it is asked for");
                    }
                    Err(error) => {
                        tracing::error!(model = name, version = number, %error, "cannot serve a version");
                    }
                }
            }
            registry.write().insert(name, entry);
        }
        let follower = Arc::clone(&registry);
        store.listen(move |change| follower.follow(change));
        let evicted = Arc::downgrade(&registry);
        registry.memory.evict_by(move |bytes| {
            if let Some(registry) = evicted.upgrade() {
                registry.evict(bytes);
            }
        });
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

    /// The memory that versions, and the requests that use them, take theirs from.
    pub(crate) fn memory(&self) -> &Budget {
        &self.memory
    }

    /// The version of a model, from memory; one that is neither the latest nor aliased, or has made room for others, is read from
    /// the store.
    ///
    /// Errors: there is none; its stored bytes are damaged; there is no memory for it.
    pub async fn version(&self, name: &str, version: &VersionName) -> Result<Version, Error> {
        let deletions = self.deletions.load(Ordering::SeqCst);
        let found = self.find(name, version);
        if found.is_err() && self.left_out {
            self.check_damage(name, version).await?;
        }
        let (number, held) = found?;
        let held = match held {
            Some(held) => held,
            None => self.read_and_keep(name, number, deletions).await?,
        };
        held.asked(self.clock.fetch_add(1, Ordering::Relaxed));
        Ok(Version {
            name: name.to_owned(),
            number,
            model: held,
        })
    }

    /// Reads a version from the store, unless another has done so meanwhile, and keeps it in memory.
    async fn read_and_keep(
        &self,
        name: &str,
        number: u64,
        deletions: u64,
    ) -> Result<Arc<Loaded>, Error> {
        let _turn = self.reading.lock().await;
        if let Ok((_, Some(read))) = self.find(name, &VersionName::Number(number)) {
            return Ok(read);
        }
        let read = self.read_version(name, number).await?;
        let mut entries = self.write();
        let mut dropped = None;
        if self.deletions.load(Ordering::SeqCst) == deletions
            && let Some(entry) = entries.get_mut(name)
        {
            dropped = entry.keep_beside(number, Arc::clone(&read));
        }
        drop(entries);
        drop(dropped);
        Ok(read)
    }

    /// A version read from the store, once there is memory for its bytes and for what they say.
    async fn read_version(&self, name: &str, number: u64) -> Result<Arc<Loaded>, Error> {
        let bytes = self
            .store
            .version(name, number)
            .await
            .map_err(not_found)?
            .artifact_bytes;
        let both = bytes.saturating_mul(2);
        let mut room = self.memory.try_reserve(Use::Models, both)?;
        let read = self.store.load_version(name, number).await;
        let model = Arc::new(read.map_err(not_found)?);
        room.settle(bytes_of(&model))?;
        Ok(Arc::new(Loaded::new(model, room)))
    }

    /// Drops versions that nobody uses at the moment, those first that were not asked for longest, until so many bytes are free.
    fn evict(&self, bytes: u64) {
        let mut unused: Vec<_> = {
            let entries = self.read();
            let versions = entries.iter().flat_map(|(name, entry)| {
                let all = entry.held.iter().map(|(number, held)| (*number, held));
                let all = all.chain(entry.beside.iter().map(|(number, held)| (*number, held)));
                all.map(move |(number, held)| {
                    (
                        held.last_asked(),
                        held.bytes(),
                        name.clone(),
                        number,
                        Arc::strong_count(held),
                    )
                })
            });
            versions.filter(|(.., users)| *users == 1).collect()
        };
        unused.sort_unstable();
        let mut freed = 0;
        let mut dropped = Vec::new();
        let mut entries = self.write();
        for (_, size, name, number, _) in unused {
            if freed >= bytes {
                break;
            }
            freed += size;
            if let Some(entry) = entries.get_mut(&name) {
                dropped.extend(entry.remove(number));
            }
        }
        // What they hold is given back once nobody waits for the lock any more.
        drop(entries);
        drop(dropped);
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

    fn find(&self, name: &str, version: &VersionName) -> Result<(u64, Option<Arc<Loaded>>), Error> {
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
        // Before the lock: others may have to make room.
        let published = match &change {
            Change::Published { model, .. } => {
                let room = self.memory.try_reserve(Use::Models, bytes_of(model));
                room.ok()
                    .map(|room| self.published(Arc::clone(model), room))
            }
            _ => None,
        };
        let mut entries = self.write();
        let mut dropped = Vec::new();
        match change {
            Change::Published { name, version, .. } => {
                let entry = entries.entry(name).or_default();
                entry.latest = version;
                if let Some(published) = published {
                    dropped.extend(entry.held.insert(version, published));
                }
                dropped.extend(entry.settle());
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
                dropped.extend(entry.settle());
            }
            Change::VersionDeleted { name, version } => {
                self.deletions.fetch_add(1, Ordering::SeqCst);
                if let Some(entry) = entries.get_mut(&name) {
                    dropped.extend(entry.remove(version));
                }
            }
            Change::ModelDeleted { name } => {
                self.deletions.fetch_add(1, Ordering::SeqCst);
                let entry = entries.remove(&name).unwrap_or_default();
                dropped.extend(entry.held.into_values());
                dropped.extend(entry.beside.into_iter().map(|(_, model)| model));
            }
        }
        drop(entries);
        drop(dropped);
    }

    /// A version that was published just now.
    fn published(&self, model: Arc<Model>, room: Reservation) -> Arc<Loaded> {
        let published = Loaded::new(model, room);
        published.asked(self.clock.fetch_add(1, Ordering::Relaxed));
        Arc::new(published)
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

    /// Moves versions between those held and those beside, as the latest and the aliases now are. Returns those that are neither any
    /// more.
    fn settle(&mut self) -> Vec<Arc<Loaded>> {
        let wanted = self.wanted();
        let mut dropped = Vec::new();
        for (number, model) in std::mem::take(&mut self.held) {
            if wanted.contains(&number) {
                self.held.insert(number, model);
            } else {
                dropped.extend(self.keep_beside(number, model));
            }
        }
        for (number, model) in std::mem::take(&mut self.beside) {
            if wanted.contains(&number) {
                self.held.insert(number, model);
            } else {
                self.beside.push_back((number, model));
            }
        }
        dropped
    }

    /// Keeps a version, and returns the one that it takes the place of.
    fn keep_beside(&mut self, number: u64, model: Arc<Loaded>) -> Option<Arc<Loaded>> {
        if self.wanted().contains(&number) {
            return self.held.insert(number, model);
        }
        let before = self.remove(number);
        self.beside.push_back((number, model));
        let is_beyond = self.beside.len() > KEPT_BESIDE;
        let oldest = if is_beyond {
            self.beside.pop_front()
        } else {
            None
        };
        before.or(oldest.map(|(_, model)| model))
    }

    /// Takes a version out of memory.
    fn remove(&mut self, number: u64) -> Option<Arc<Loaded>> {
        let place = self.beside.iter().position(|(kept, _)| *kept == number);
        let beside = place.and_then(|place| self.beside.remove(place));
        let beside = beside.map(|(_, model)| model);
        beside.or_else(|| self.held.remove(&number))
    }
}

/// What the store does not have is not there.
fn not_found(error: crate::store::Error) -> Error {
    match error {
        crate::store::Error::NotFound { kind, name } => Error::NotFound { kind, name },
        other => Error::Store(other),
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
