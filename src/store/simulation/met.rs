//! What a simulation met: one in which nothing happens proves nothing.

/// How often what is to be proved was met.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Met {
    pub(crate) kills: u64,
    pub(crate) torn: u64,
    pub(crate) full: u64,
    pub(crate) fenced: u64,
    pub(crate) succeeded: u64,
    pub(crate) cancelled: u64,
    pub(crate) crashed: u64,
    pub(crate) replayed: u64,
}

impl Met {
    pub(crate) fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.torn += other.torn;
        self.full += other.full;
        self.fenced += other.fenced;
        self.succeeded += other.succeeded;
        self.cancelled += other.cancelled;
        self.crashed += other.crashed;
        self.replayed += other.replayed;
    }

    pub(crate) fn check(&self) {
        let Self {
            kills,
            torn,
            full,
            fenced,
            succeeded,
            cancelled,
            crashed,
            replayed,
        } = *self;
        for (what, met) in [
            ("kill", kills),
            ("torn commit", torn),
            ("full disk", full),
            ("fenced attempt", fenced),
            ("job that succeeded", succeeded),
            ("job that was cancelled", cancelled),
            ("job that crashed repeatedly", crashed),
            ("replayed key", replayed),
        ] {
            assert!(met > 0, "no {what} in all these seeds: {self:?}");
        }
    }
}
