//! Touched holders -> transitions of their findings -> rows and messages.

mod backlog;
mod failures;
mod holders;
mod places;
mod pods;
mod save;
mod scoped;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use plimsoll_findings::transition::merged_into;
use plimsoll_findings::{
    Desired, Desires, Gone, HolderView, Origin, Outcome, Transition, advisory_sentence, desired, finding_id,
    roll_up, subject, transition,
};
use plimsoll_model::finding::{Change, FindingState, RollUp};
use plimsoll_model::{Finding, FindingKey, Holder, PackageKey, Vulnerability};

use crate::apply::{Caused, Pending, Touch, Work, list};
use crate::error::StoreError;
use crate::rows::{FindingRow, only_id};
use crate::store::Emit;
use crate::view::Snapshot;
use holders::HolderState;
use places::Names;

/// Holders that are judged together.
const CHUNK: usize = 1_000;

/// A finding that opens or closes at one repository's holders, by what it is about.
type About = (i64, String, PackageKey);

/// One holder with what should be open and what is.
struct Judged {
    state: HolderState,
    desires: Desires,
    open: BTreeMap<String, Finding>,
    /// By id: those that are suppressed, and closed ones that open or are suppressed again.
    closed: HashMap<String, Finding>,
}

impl Work<'_> {
    /// Judges everything that was touched and tells what changed.
    pub(crate) async fn settle(&mut self) -> Result<(), StoreError> {
        let components = std::mem::take(&mut self.pending.components);
        self.spread(components).await?;
        let Pending { causes, repositories, containers, pods, .. } = std::mem::take(&mut self.pending);
        if repositories.is_empty() && containers.is_empty() && pods.is_empty() {
            return Ok(());
        }
        let touched: Vec<(i64, usize)> =
            containers.iter().map(|(holder, touch)| (*holder, touch.cause)).collect();
        let mut changes: BTreeMap<usize, Vec<Change>> = BTreeMap::new();
        let mut failures = Vec::new();
        for (repositories, containers) in self.chunks(repositories, containers).await? {
            let judged = self.judge(repositories, containers, &mut failures).await?;
            self.change(judged, &causes, &mut changes).await?;
        }
        self.pods(&pods, &touched, &causes, &mut changes).await?;
        for (cause, changes) in changes {
            let Some(caused) = causes.get(cause) else { continue };
            for part in roll_up(changes) {
                let mut caused = caused.clone();
                if caused.cause.kind == "advisory" {
                    caused.cause.sentence = advisory_sentence(&caused.cause.sentence, &part.changes);
                }
                self.tell(&caused, part.holder, part.class, part.changes, None);
            }
        }
        for failure in failures {
            let Some(caused) = causes.get(failure.cause) else { continue };
            let caused = Caused { cause: failure.explain(&caused.cause), ..caused.clone() };
            let class = plimsoll_model::Class::FourteenDays;
            self.tell(&caused, failure.holder, class, Vec::new(), Some((failure.code, failure.detail)));
        }
        Ok(())
    }

    fn tell(
        &mut self,
        caused: &Caused,
        holder: Holder,
        class: plimsoll_model::Class,
        changes: Vec<Change>,
        failure: Option<(String, String)>,
    ) {
        if self.emit == Emit::Silent {
            return;
        }
        self.seq += 1;
        let message = RollUp {
            epoch: self.epoch,
            seq: self.seq,
            at: self.now,
            cause: caused.cause.clone(),
            holder,
            class,
            changes,
            failure,
            trace: caused.trace.clone(),
        };
        self.outcome.roll_ups.push((self.seq, subject(&message), message));
    }

    /// Bounded parts of the work; a repository and the containers that run its images stay together.
    async fn chunks(
        &mut self,
        repositories: BTreeMap<i64, Touch>,
        containers: BTreeMap<i64, Touch>,
    ) -> Result<Vec<(BTreeMap<i64, Touch>, BTreeMap<i64, Touch>)>, StoreError> {
        if repositories.len() + containers.len() <= CHUNK {
            return Ok(vec![(repositories, containers)]);
        }
        let ids: Vec<i64> = containers.keys().copied().collect();
        let rows: Vec<(i64, Option<i64>)> = sqlx::query_as(
            "SELECT j.value, c.repo FROM json_each(?) j LEFT JOIN containers c ON c.holder = j.value",
        )
        .bind(list(&ids)?)
        .fetch_all(&mut *self.connection)
        .await?;
        let mut by_repository: BTreeMap<Option<i64>, Vec<i64>> = BTreeMap::new();
        for (holder, repository) in rows {
            by_repository.entry(repository).or_default().push(holder);
        }
        let mut keys: BTreeSet<Option<i64>> = repositories.keys().copied().map(Some).collect();
        keys.extend(by_repository.keys().copied());
        let mut chunks = vec![(BTreeMap::new(), BTreeMap::new())];
        for key in keys {
            for holder in by_repository.remove(&key).unwrap_or_default() {
                if let (Some(chunk), Some(cause)) = (chunks.last_mut(), containers.get(&holder)) {
                    chunk.1.insert(holder, cause.clone());
                }
                // Containers of unknown origin need not stay together.
                if key.is_none() && chunks.last().is_some_and(|c| c.1.len() >= CHUNK) {
                    chunks.push((BTreeMap::new(), BTreeMap::new()));
                }
            }
            if let (Some(chunk), Some(id)) = (chunks.last_mut(), key)
                && let Some(cause) = repositories.get(&id)
            {
                chunk.0.insert(id, cause.clone());
            }
            if chunks.last().is_some_and(|c| c.0.len() + c.1.len() >= CHUNK) {
                chunks.push((BTreeMap::new(), BTreeMap::new()));
            }
        }
        Ok(chunks)
    }

    /// What should be open and what is, of all these; failures that nobody was told of are added.
    async fn judge(
        &mut self,
        repositories: BTreeMap<i64, Touch>,
        containers: BTreeMap<i64, Touch>,
        failures: &mut Vec<failures::Failure>,
    ) -> Result<Vec<Judged>, StoreError> {
        let whole = |(_, touch): &(i64, Touch)| touch.scope.is_none();
        let (whole_repositories, repositories): (BTreeMap<_, _>, BTreeMap<_, _>) =
            repositories.into_iter().partition(whole);
        let (whole_containers, containers): (BTreeMap<_, _>, BTreeMap<_, _>) =
            containers.into_iter().partition(whole);
        let mut judged = Vec::new();
        if !(whole_repositories.is_empty() && whole_containers.is_empty()) {
            let (states, snapshot) = self.load_holders(&whole_repositories, &whole_containers).await?;
            judged = self.judge_loaded(states, &snapshot).await?;
            self.save_held(&judged, &snapshot).await?;
            failures.extend(self.failures(&judged, &whole_repositories).await?);
        }
        if !(repositories.is_empty() && containers.is_empty()) {
            let (states, snapshot) = self.load_scoped(&repositories, &containers).await?;
            judged.extend(self.judge_loaded(states, &snapshot).await?);
        }
        Ok(judged)
    }

    async fn judge_loaded(
        &mut self,
        states: Vec<HolderState>,
        snapshot: &Snapshot,
    ) -> Result<Vec<Judged>, StoreError> {
        let ids: BTreeSet<&str> = snapshot
            .components
            .values()
            .flat_map(|c| c.matches.iter().map(|m| m.vulnerability.as_str()))
            .collect();
        self.load_vulnerabilities(&ids.into_iter().collect::<Vec<_>>()).await?;
        let names = self.names(&states, snapshot).await?;
        // What is judged for some packages only was not loaded whole: it has no print, and is always judged.
        let prints: Vec<Option<u64>> = states
            .iter()
            .map(|state| state.scope.is_none().then(|| self.fingerprint(state, snapshot, &names)))
            .collect();
        let changed: Vec<&HolderState> = states
            .iter()
            .zip(&prints)
            .filter(|(state, print)| print.is_none() || self.cache.judged.get(&state.id) != print.as_ref())
            .map(|(state, _)| state)
            .collect();
        let mut open = self.standing_findings(&changed).await?;
        let mut judged = Vec::with_capacity(states.len());
        for (state, print) in states.into_iter().zip(prints) {
            // What is judged in part is other than at its last print.
            if print.is_none() {
                self.cache.judged.remove(&state.id);
            }
            // Nothing that its findings follow from is other than when they were saved.
            if let Some(print) = print
                && self.cache.judged.insert(state.id, print) == Some(print)
            {
                let desires = Desires::default();
                judged.push(Judged { state, desires, open: BTreeMap::new(), closed: HashMap::new() });
                continue;
            }
            let in_scope = |name: &str| state.scope.as_ref().is_none_or(|scope| scope.contains(name));
            let matches: Vec<_> = state
                .images
                .iter()
                .flat_map(|image| snapshot.matches(image))
                .filter(|held| in_scope(&held.matched.component.package.name))
                .collect();
            let places = self.places(&state, snapshot, &names);
            let view = HolderView {
                holder: &state.holder,
                exposure: state.exposure.as_ref(),
                deployment: state.deployment,
                matches: &matches,
                covered: &state.covered,
                statements: &self.statements,
                places: &places,
            };
            let vulnerabilities = &self.cache.vulnerabilities;
            let lookup = |id: &str| -> Option<&Vulnerability> {
                vulnerabilities.get(id).map(|known| known.value.as_ref())
            };
            let desires = desired(&view, lookup, &self.settings.risk, self.now);
            let (open, suppressed): (BTreeMap<_, _>, BTreeMap<_, _>) = open
                .remove(&state.id)
                .unwrap_or_default()
                .into_iter()
                .partition(|(_, finding)| finding.state == FindingState::Open);
            judged.push(Judged { state, desires, open, closed: suppressed.into_iter().collect() });
        }
        self.load_closed(&mut judged).await?;
        Ok(judged)
    }

    /// A hash of all that the findings of a holder follow from, but for the digests of its images.
    fn fingerprint(&self, state: &HolderState, snapshot: &Snapshot, names: &Names) -> u64 {
        let mut components: Vec<i64> = state
            .images
            .iter()
            .filter_map(|image| snapshot.images.get(image))
            .flat_map(|row| row.components.iter().copied())
            .filter(|id| snapshot.components.contains_key(id))
            .collect();
        components.sort_unstable();
        components.dedup();
        let mut hasher = DefaultHasher::new();
        for (id, row) in components.iter().filter_map(|id| Some((id, snapshot.components.get(id)?))) {
            (id, row.db_seq, row.hash).hash(&mut hasher);
            for matched in &row.matches {
                let known = self.cache.vulnerabilities.get(&matched.vulnerability);
                known.map_or(0, |known| known.hash).hash(&mut hasher);
            }
        }
        let max_age = self.settings.risk.max_age_ms;
        let unproved = state.exposure.as_ref().map(|e| e.unproved(self.now, max_age));
        let exposure = state.exposure.as_ref().map(|e| (&e.paths, &e.caveats, e.reaches));
        exposure.hash(&mut hasher);
        // Rare values with a readable form and no hash of their own.
        let level = state.exposure.as_ref().map(|e| e.level);
        format!("{unproved:?} {level:?} {:?}", state.deployment).hash(&mut hasher);
        (&state.covered, state.repository, self.settings_hash, self.statements_hash).hash(&mut hasher);
        if !self.statements.is_empty() {
            // Statements may name images, by their digests, indexes and place.
            (&state.images, &state.place).hash(&mut hasher);
            for image in &state.images {
                names.indexes(image).hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    /// Findings that are open or suppressed, by holder and id.
    async fn standing_findings(
        &mut self,
        states: &[&HolderState],
    ) -> Result<HashMap<i64, BTreeMap<String, Finding>>, StoreError> {
        if states.is_empty() {
            return Ok(HashMap::new());
        }
        let holders: HashMap<i64, &Holder> = states.iter().map(|s| (s.id, &s.holder)).collect();
        let wanted: Vec<(i64, Option<&BTreeSet<String>>)> =
            states.iter().map(|s| (s.id, s.scope.as_deref())).collect();
        let rows: Vec<FindingRow> = sqlx::query_as(
            "SELECT f.id, f.holder, f.vulnerability, f.state, f.opened_at, f.due, f.revision, f.db_seq, f.body FROM json_each(?) j CROSS JOIN findings f ON f.holder = j.value->>0 AND f.state IN (0, 2) AND (j.value->>1 IS NULL OR f.name IN (SELECT value FROM json_each(j.value, '$[1]')))",
        )
        .bind(list(&wanted)?)
        .fetch_all(&mut *self.connection)
        .await?;
        let mut open: HashMap<i64, BTreeMap<String, Finding>> = HashMap::new();
        for (holder, finding) in self.findings(rows, &holders).await? {
            open.entry(holder).or_default().insert(finding.id.clone(), finding);
        }
        Ok(open)
    }

    async fn load_closed(&mut self, judged: &mut [Judged]) -> Result<(), StoreError> {
        let mut opening = Vec::new();
        for one in judged.iter() {
            let wanted = one.desires.open.iter().chain(&one.desires.suppressed);
            opening.extend(
                wanted
                    .map(|d| finding_id(&d.key))
                    .filter(|id| !one.open.contains_key(id) && !one.closed.contains_key(id)),
            );
        }
        if opening.is_empty() {
            return Ok(());
        }
        let rows: Vec<FindingRow> = sqlx::query_as(
            "SELECT f.id, f.holder, f.vulnerability, f.state, f.opened_at, f.due, f.revision, f.db_seq, f.body FROM json_each(?) j CROSS JOIN findings f ON f.id = j.value",
        )
        .bind(list(&opening)?)
        .fetch_all(&mut *self.connection)
        .await?;
        let holders: HashMap<i64, Holder> =
            judged.iter().map(|j| (j.state.id, j.state.holder.clone())).collect();
        let holders: HashMap<i64, &Holder> = holders.iter().map(|(id, h)| (*id, h)).collect();
        let places: HashMap<i64, usize> = judged.iter().enumerate().map(|(n, j)| (j.state.id, n)).collect();
        for (holder, finding) in self.findings(rows, &holders).await? {
            if let Some(one) = places.get(&holder).and_then(|n| judged.get_mut(*n)) {
                one.closed.insert(finding.id.clone(), finding);
            }
        }
        Ok(())
    }

    async fn findings(
        &mut self,
        rows: Vec<FindingRow>,
        holders: &HashMap<i64, &Holder>,
    ) -> Result<Vec<(i64, Finding)>, StoreError> {
        let ids: BTreeSet<String> = rows.iter().map(|r| r.vulnerability.clone()).collect();
        self.load_vulnerabilities(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        let mut findings = Vec::with_capacity(rows.len());
        for row in rows {
            let Some(holder) = holders.get(&row.holder) else { continue };
            let vulnerability = self
                .cache
                .vulnerabilities
                .get(&row.vulnerability)
                .map_or_else(|| only_id(&row.vulnerability), |known| known.value.as_ref().clone());
            findings.push((row.holder, row.into_finding((*holder).clone(), vulnerability)?));
        }
        Ok(findings)
    }

    /// Transitions of all findings of these holders, saved; the changes go to their causes.
    async fn change(
        &mut self,
        judged: Vec<Judged>,
        causes: &[Caused],
        changes: &mut BTreeMap<usize, Vec<Change>>,
    ) -> Result<(), StoreError> {
        let origins = origins(&judged);
        let mut rows: Vec<(i64, Finding)> = Vec::new();
        for Judged { state, desires, mut open, mut closed } in judged {
            let clock = causes.get(state.cause).map_or(self.now, |c| c.at);
            let wanted: HashSet<String> = desires.open.iter().map(|d| finding_id(&d.key)).collect();
            let kept: HashSet<String> = desires.suppressed.iter().map(|d| finding_id(&d.key)).collect();
            let closing: Vec<FindingKey> = open
                .values()
                .filter(|f| !wanted.contains(&f.id) && !kept.contains(&f.id))
                .map(|f| f.key.clone())
                .collect();
            let mut merged: HashSet<FindingKey> = HashSet::new();
            let mut steps: Vec<(Option<Finding>, Outcome)> = Vec::new();
            for one in desires.open {
                let id = finding_id(&one.key);
                let mut current = open.remove(&id).or_else(|| closed.remove(&id));
                if let Some(current) = &mut current {
                    // Images are not stored, so that they are no change.
                    current.images.clone_from(&one.images);
                }
                let mut origin = None;
                if current.as_ref().is_none_or(|f| f.state != FindingState::Open) {
                    origin = origins.of(&state, &one);
                    if let Some(old) = merged_into(&one, closing.iter())
                        && let Some(old) = open.values().find(|f| f.key == *old)
                    {
                        merged.insert(old.key.clone());
                        origin.get_or_insert_with(|| origin_of(old, false));
                    }
                }
                steps.push((current, Outcome::Open(Box::new(one), origin)));
            }
            for one in desires.suppressed {
                let id = finding_id(&one.key);
                let mut current = open.remove(&id).or_else(|| closed.remove(&id));
                if let Some(current) = &mut current {
                    current.images.clone_from(&one.images);
                }
                steps.push((current, Outcome::Suppressed(Box::new(one))));
            }
            let suppressed = closed.into_values().filter(|f| f.state == FindingState::Suppressed);
            for old in open.into_values().chain(suppressed) {
                let about = (old.key.vulnerability.clone(), old.key.package.clone());
                let gone = if merged.contains(&old.key) {
                    Gone::Merged
                } else if desires.covered.contains(&about) {
                    Gone::Rescoped
                } else if desires.denied.contains(&about) {
                    Gone::Denied
                } else {
                    Gone::Fixed
                };
                steps.push((Some(old), Outcome::Gone(gone)));
            }
            for (current, outcome) in steps {
                match transition(current, outcome, clock) {
                    Transition::Unchanged => {}
                    Transition::Silent(finding) => rows.push((state.id, *finding)),
                    Transition::Published(change) => {
                        rows.push((state.id, change.finding.clone()));
                        changes.entry(state.cause).or_default().push(*change);
                    }
                }
            }
        }
        rows.sort_by(|(x, a), (y, b)| x.cmp(y).then_with(|| a.id.cmp(&b.id)));
        self.save_findings(&rows).await
    }
}

/// Where findings that open may come from: those that close for the sake of another holder of the same repository.
struct Origins {
    from_repository: HashMap<About, Origin>,
    from_workload: HashMap<About, Origin>,
}

fn origin_of(finding: &Finding, rescoped: bool) -> Origin {
    Origin { opened_at: finding.opened_at, due: finding.due, class: finding.assessment.class, rescoped }
}

fn origins(judged: &[Judged]) -> Origins {
    let mut origins = Origins { from_repository: HashMap::new(), from_workload: HashMap::new() };
    for one in judged {
        let Some(repository) = one.state.repository else { continue };
        let wanted: HashSet<&FindingKey> = one.desires.open.iter().map(|d| &d.key).collect();
        for finding in one.open.values().filter(|f| !wanted.contains(&f.key)) {
            let about = (repository, finding.key.vulnerability.clone(), finding.key.package.clone());
            let short = (finding.key.vulnerability.clone(), finding.key.package.clone());
            match &finding.key.holder {
                Holder::Repository { .. } if one.desires.covered.contains(&short) => {
                    origins.from_repository.entry(about).or_insert_with(|| origin_of(finding, true));
                }
                Holder::Repository { .. } => {}
                Holder::Workload { .. } => {
                    origins.from_workload.entry(about).or_insert_with(|| origin_of(finding, true));
                }
            }
        }
    }
    origins
}

impl Origins {
    fn of(&self, state: &HolderState, one: &Desired) -> Option<Origin> {
        let about = (state.repository?, one.key.vulnerability.clone(), one.key.package.clone());
        match state.holder {
            Holder::Workload { .. } => self.from_repository.get(&about).cloned(),
            Holder::Repository { .. } => self.from_workload.get(&about).cloned(),
        }
    }
}
