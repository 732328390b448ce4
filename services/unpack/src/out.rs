//! What the stages of this role may publish, and how registry errors become failures.

use plimsoll_bus::subjects::{self, Lane};
use plimsoll_bus::{Cx, Emit, Failure, Outgoing};
use plimsoll_image::registry::RegistryError;
use plimsoll_model::fact::{Fact, FactBody};
use plimsoll_proto::v1;
use prost::Message;

/// A message of this role.
#[derive(Debug, Clone)]
pub enum One {
    /// A manifest that follows from another (the child of an index), or from a deploy.
    Manifest(v1::ManifestJob),
    Layer(v1::LayerJob),
    Sbom(v1::SbomJob),
    /// A tag that was looked up, as an event.
    Pushed(v1::ImagePushed),
    LayerFact(v1::LayerFact),
    Fact(&'static str, v1::Fact),
    /// The fact of a manifest whose layers are all known, and what is to be made of it.
    Ready(v1::Fact, v1::SbomJob),
}

/// The messages of one piece of work, in order.
#[derive(Debug, Clone, Default)]
pub struct Planned(pub Vec<One>);

impl Emit for Planned {
    fn messages(&self, lane: Lane) -> Vec<Outgoing> {
        self.0.iter().flat_map(|one| one.messages(lane)).collect()
    }
}

impl One {
    fn messages(&self, lane: Lane) -> Vec<Outgoing> {
        // What a hint causes is planned work only once somebody waits for it.
        let jobs = |stage: &str| subjects::job(stage, lane);
        let message = match self {
            One::Manifest(job) => Outgoing { subject: jobs("manifest"), payload: job.encode_to_vec() },
            One::Layer(job) if job.hint => {
                Outgoing { subject: subjects::job("layer", Lane::Hint), payload: job.encode_to_vec() }
            }
            One::Layer(job) => Outgoing { subject: jobs("layer"), payload: job.encode_to_vec() },
            One::Sbom(job) => {
                let lane = if lane == Lane::Hint { Lane::Hot } else { lane };
                Outgoing { subject: subjects::job("sbom", lane), payload: job.encode_to_vec() }
            }
            One::Pushed(event) => Outgoing {
                subject: subjects::IMAGE_PUSHED.to_owned(),
                // A message of texts and numbers always has a JSON form.
                payload: serde_json::to_vec(event).unwrap_or_default(),
            },
            One::LayerFact(fact) => {
                let body = v1::Fact { body: Some(v1::fact::Body::Layer(fact.clone())), ..Default::default() };
                Outgoing { subject: subjects::FACT_LAYER.to_owned(), payload: body.encode_to_vec() }
            }
            One::Fact(subject, fact) => {
                Outgoing { subject: (*subject).to_owned(), payload: fact.encode_to_vec() }
            }
            // A log has one lane: urgent work is in the fact, other work is queued beside it.
            One::Ready(fact, job) if lane == Lane::Hot => {
                let mut fact = fact.clone();
                if let Some(v1::fact::Body::Manifest(manifest)) = &mut fact.body {
                    manifest.sbom = Some(job.clone());
                }
                Outgoing { subject: subjects::FACT_READY.to_owned(), payload: fact.encode_to_vec() }
            }
            One::Ready(fact, job) => {
                let fact = Self::Fact(subjects::FACT_MANIFEST, fact.clone());
                return [fact, Self::Sbom(job.clone())].iter().flat_map(|one| one.messages(lane)).collect();
            }
        };
        vec![message]
    }
}

/// A fact with an identity made of what it depends on.
pub fn fact(cx: &Cx, parts: &[&str], body: FactBody) -> Result<v1::Fact, Failure> {
    let parts: Vec<&[u8]> = parts.iter().map(|p| p.as_bytes()).collect();
    let id = plimsoll_bus::connection::message_id(&parts);
    Ok(Fact { id, at: cx.published(), trace: cx.trace().to_owned(), body }.try_into()?)
}

/// Transient errors are tried again, the others are final for this source.
pub fn failure(error: &RegistryError) -> Failure {
    if error.transient() {
        Failure::transient(error.code(), error)
    } else {
        Failure::permanent(error.code(), error)
    }
}
