//! What to do first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use plimsoll_findings::{PlanFinding, RolloutCandidate, plan};
use plimsoll_model::fact::ContainerFact;
use plimsoll_model::{Action, Digest, Finding, Holder};
use sqlx::Row as _;

use super::findings::finding_of;
use crate::error::{StoreError, decode};
use crate::reader::Reader;
use crate::view::{Snapshot, parse};

/// Open findings that a plan looks at, the most urgent first.
pub const MAX_FINDINGS: i64 = 50_000;

type Moved = (i64, String, String, Option<String>, String, String);

impl Reader {
    /// The greedy plan over open findings: upgrades, rebuilds, policies, rollouts; at most `limit` actions.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn actions(&self, limit: usize) -> Result<Vec<Action>, StoreError> {
        let rows = sqlx::query(
            "SELECT f.id, f.holder, f.vulnerability, f.state, f.opened_at, f.due, f.revision, f.db_seq, f.body, h.key, v.body AS known, r.registry || '/' || r.repository AS place
             FROM findings f JOIN holders h ON h.id = f.holder LEFT JOIN vulnerabilities v ON v.id = f.vulnerability LEFT JOIN containers c ON c.holder = h.id LEFT JOIN repositories r ON r.id = COALESCE(h.repo, c.repo)
             WHERE f.state = 0 ORDER BY f.class, f.assumed, f.negative_rank, f.opened_at, f.id LIMIT ?",
        )
        .bind(MAX_FINDINGS)
        .fetch_all(&self.pool)
        .await?;
        let mut findings: Vec<(i64, Finding, String)> = Vec::with_capacity(rows.len());
        for row in &rows {
            let place: Option<String> = row.try_get("place")?;
            findings.push((row.try_get("holder")?, finding_of(row)?, place.unwrap_or_default()));
        }
        drop(rows);
        let rollouts = self.rollouts(&findings).await?;
        let input: Vec<PlanFinding<'_>> =
            findings.iter().map(|(_, finding, repository)| PlanFinding { finding, repository }).collect();
        let rebuilds = self.rebuilds(&findings).await?;
        Ok(plan(&input, &rollouts, &rebuilds, limit))
    }

    /// Workloads whose tag points at another image by now, with what that image does not have. Only images that a Db has
    /// judged count: what is unmatched ends nothing.
    async fn rollouts(
        &self,
        findings: &[(i64, Finding, String)],
    ) -> Result<Vec<RolloutCandidate>, StoreError> {
        let moved: Vec<Moved> = sqlx::query_as(
            "SELECT c.holder, h.key, c.image, c.stated, c.digest, t.digest FROM containers c JOIN holders h ON h.id = c.holder JOIN tags t ON t.repo = c.repo AND t.tag = c.tag WHERE c.digest IS NOT NULL AND t.digest IS NOT NULL AND t.digest <> c.digest AND NOT EXISTS (SELECT 1 FROM deleted d WHERE d.repo = t.repo AND d.digest = t.digest AND d.seq > t.seq) ORDER BY c.holder",
        )
        .fetch_all(&self.pool)
        .await?;
        if moved.is_empty() {
            return Ok(Vec::new());
        }
        let mut by_holder: BTreeMap<i64, Vec<&Finding>> = BTreeMap::new();
        for (holder, finding, _) in findings {
            by_holder.entry(*holder).or_default().push(finding);
        }
        let mut digests: BTreeSet<Digest> = BTreeSet::new();
        for row in &moved {
            digests.insert(parse(&row.5)?);
        }
        let mut connection = self.pool.acquire().await?;
        let snapshot = Snapshot::load(&mut connection, digests, &mut HashMap::new()).await?;
        let mut candidates = Vec::new();
        for (holder, key, image, stated, runs, tag_now) in moved {
            let Holder::Workload { workload, container } = decode("holders", &key)? else { continue };
            let stated = stated.as_deref().map(parse).transpose()?;
            let fact = ContainerFact { name: container, image, digest: stated };
            let mut running = plimsoll_inventory::running(&fact, 0, None);
            running.digest = Some(parse(&runs)?);
            let tag_now = parse(&tag_now)?;
            if plimsoll_inventory::rollout(&fact, &running, Some(&tag_now)).is_none() {
                continue;
            }
            let images = snapshot.images_behind(&tag_now);
            let judged = !images.is_empty()
                && images.iter().all(|(_, d)| snapshot.images.get(d).is_some_and(|i| i.db_seq > 0));
            // The platform that the workload's nodes have is among the children; which one is not known, so all must lack it.
            let has: BTreeSet<_> = images.iter().flat_map(|(_, image)| snapshot.affected(image)).collect();
            if !judged {
                continue;
            }
            let ends: Vec<String> = by_holder
                .get(&holder)
                .into_iter()
                .flatten()
                .filter(|f| !has.contains(&(f.key.vulnerability.clone(), f.key.package.clone())))
                .map(|f| f.id.clone())
                .collect();
            if !ends.is_empty() {
                candidates.push(RolloutCandidate { workload: workload.to_string(), ends });
            }
        }
        Ok(candidates)
    }
}
