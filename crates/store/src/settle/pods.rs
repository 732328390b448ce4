//! Findings of workloads as a whole: what changes of the cluster brought about for their connections.

use std::collections::{BTreeMap, HashMap};

use plimsoll_findings::network;
use plimsoll_model::exposure::Exposure;
use plimsoll_model::fact::WorkloadFact;
use plimsoll_model::finding::{Change, FindingState};
use plimsoll_model::{Finding, Holder, Timestamp};
use plimsoll_risk::Deployment;

use super::Judged;
use super::holders::HolderState;
use crate::apply::{Caused, Work, list};
use crate::error::{StoreError, decode};
use crate::rows::{FindingRow, from_row};

/// A workload that has, or had, findings of its own.
struct Pod {
    holder: i64,
    workload: i64,
    key: String,
    body: Option<String>,
    live: i64,
    as_of: Option<i64>,
}

from_row!(Pod { holder, workload, key, body, live, as_of });

impl Work<'_> {
    /// Judges the touched workloads, and those of touched containers: the class of what was opened is that of what is
    /// behind it. Called when the findings of containers are saved.
    pub(super) async fn pods(
        &mut self,
        touched: &BTreeMap<i64, usize>,
        containers: &[(i64, usize)],
        causes: &[Caused],
        changes: &mut BTreeMap<usize, Vec<Change>>,
    ) -> Result<(), StoreError> {
        let causes_of = self.touched_pods(touched, containers).await?;
        if causes_of.is_empty() {
            return Ok(());
        }
        let ids: Vec<i64> = causes_of.keys().copied().collect();
        let pods: Vec<Pod> = sqlx::query_as(
            "SELECT p.holder, p.workload, h.key, w.body, w.live, cl.as_of FROM json_each(?) j CROSS JOIN pods p ON p.holder = j.value CROSS JOIN holders h ON h.id = p.holder CROSS JOIN workloads w ON w.id = p.workload LEFT JOIN clusters cl ON cl.name = w.cluster ORDER BY p.holder",
        )
        .bind(list(&ids)?)
        .fetch_all(&mut *self.connection)
        .await?;
        let mut judged = Vec::with_capacity(pods.len());
        for pod in pods {
            let holder: Holder = decode("holders", &pod.key)?;
            let body = pod.body.as_deref().filter(|_| pod.live != 0);
            let fact: Option<WorkloadFact> = body.map(|body| decode("workloads", body)).transpose()?;
            let notes = fact.as_ref().map(|fact| fact.notes.clone()).unwrap_or_default();
            let behind = if notes.is_empty() { None } else { self.behind(pod.workload, &holder).await? };
            let exposure = fact.map(|fact| {
                let as_of = fact.exposure.as_of.max(Timestamp(pod.as_of.unwrap_or(i64::MIN)));
                Exposure { as_of, ..fact.exposure }
            });
            let (statements, now) = (&self.statements, self.now);
            let desires =
                network::network(&holder, &notes, exposure.as_ref(), behind.as_ref(), statements, now);
            let state = HolderState {
                id: pod.holder,
                holder,
                repository: None,
                cause: causes_of.get(&pod.holder).copied().unwrap_or_default(),
                scope: None,
                exposure,
                deployment: Deployment::Workload { privileged: false, replicas: 1 },
                digests: Vec::new(),
                images: Vec::new(),
                covered: Default::default(),
                place: None,
                unresolved: None,
            };
            judged.push(Judged { state, desires, open: BTreeMap::new(), closed: HashMap::new() });
        }
        let states: Vec<&HolderState> = judged.iter().map(|one| &one.state).collect();
        let mut open = self.standing_findings(&states).await?;
        for one in &mut judged {
            let (open, suppressed): (BTreeMap<_, _>, BTreeMap<_, _>) = open
                .remove(&one.state.id)
                .unwrap_or_default()
                .into_iter()
                .partition(|(_, finding)| finding.state == FindingState::Open);
            (one.open, one.closed) = (open, suppressed.into_iter().collect());
        }
        self.load_closed(&mut judged).await?;
        self.change(judged, causes, changes).await
    }

    /// Holders that are workloads as a whole, of these workloads and containers, each with its last cause.
    async fn touched_pods(
        &mut self,
        touched: &BTreeMap<i64, usize>,
        containers: &[(i64, usize)],
    ) -> Result<BTreeMap<i64, usize>, StoreError> {
        let any: i64 =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pods)").fetch_one(&mut *self.connection).await?;
        if any == 0 {
            return Ok(BTreeMap::new());
        }
        let workloads: Vec<(i64, usize)> = touched.iter().map(|(id, cause)| (*id, *cause)).collect();
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT p.holder, j.value->>1 FROM json_each(?1) j CROSS JOIN containers c ON c.holder = j.value->>0 CROSS JOIN pods p ON p.workload = c.workload UNION ALL SELECT p.holder, j.value->>1 FROM json_each(?2) j CROSS JOIN pods p ON p.workload = j.value->>0",
        )
        .bind(list(containers)?)
        .bind(list(&workloads)?)
        .fetch_all(&mut *self.connection)
        .await?;
        let mut pods: BTreeMap<i64, usize> = BTreeMap::new();
        for (pod, cause) in rows {
            let cause = usize::try_from(cause).unwrap_or_default();
            let known = pods.entry(pod).or_default();
            *known = (*known).max(cause);
        }
        Ok(pods)
    }

    /// The most urgent open finding of the containers of a workload.
    async fn behind(&mut self, workload: i64, holder: &Holder) -> Result<Option<Finding>, StoreError> {
        let row: Option<FindingRow> = sqlx::query_as(
            "SELECT f.id, f.holder, f.vulnerability, f.state, f.opened_at, f.due, f.revision, f.db_seq, f.body FROM containers c CROSS JOIN findings f ON f.holder = c.holder AND f.state = 0 WHERE c.workload = ? ORDER BY f.class, f.assumed, f.negative_rank, f.id LIMIT 1",
        )
        .bind(workload)
        .fetch_optional(&mut *self.connection)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let holders = HashMap::from([(row.holder, holder)]);
        Ok(self.findings(vec![row], &holders).await?.pop().map(|(_, finding)| finding))
    }

    /// Makes a workload that something stands of a holder of findings.
    pub(crate) async fn keep_pod(&mut self, workload: i64, fact: &WorkloadFact) -> Result<(), StoreError> {
        if fact.notes.is_empty() {
            return Ok(());
        }
        let holder = Holder::Workload { workload: fact.name.clone(), container: String::new() };
        let holder = self.holder(&holder).await?;
        sqlx::query("INSERT INTO pods (holder, workload) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(holder)
            .bind(workload)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }
}
