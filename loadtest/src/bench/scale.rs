//! Cold layers from a registry that takes its time: one worker process against several.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use plimsoll_bus::tail::From;
use plimsoll_bus::{Bus, Outgoing, Settings, subjects};
use plimsoll_proto::v1;
use plimsoll_telemetry::{Health, Metrics};
use plimsoll_testkit::image::content::npm_package_json;
use plimsoll_testkit::image::{BuiltImage, Compression, ImageBuilder, Layer, MANIFEST};
use plimsoll_testkit::nats::NatsServer;
use plimsoll_testkit::registry::{Behaviour, FakeRegistry, Fault, Kind, Options as RegistryOptions};

use super::ScaleArguments;
use super::measure::{at_least, figure, note, title};
use crate::LoadError;
use crate::crash::scenario::write_feeds;
use crate::fleet::{self, Fleet, Plan, REGISTRY};

/// Layers of an image.
const LAYERS: usize = 8;
/// Longest wait for the layers of a run.
const PATIENCE: Duration = Duration::from_secs(300);

/// Measures one, two and four workers.
pub(super) async fn run(program: &Path, arguments: &ScaleArguments) -> Result<(), LoadError> {
    title(&format!(
        "workers of {} slots, {} layers, a registry that takes {} ms",
        arguments.slots, arguments.layers, arguments.latency
    ));
    let mut rates = Vec::new();
    for workers in [1, 2, 4] {
        let rate = measure(program, workers, arguments).await?;
        note(&format!("{workers} workers"), &format!("{} layers/s", figure(rate)));
        rates.push(rate);
    }
    if let (Some(one), Some(four)) = (rates.first(), rates.last()) {
        at_least("four workers against one", four / one, 3.6, "×");
    }
    Ok(())
}

fn images(count: usize) -> Result<Vec<BuiltImage>, LoadError> {
    (0..count.div_ceil(LAYERS))
        .map(|image| {
            let builder = (0..LAYERS).fold(ImageBuilder::new(), |builder, number| {
                let name = format!("package-{image}-{number}");
                let path = format!("app/node_modules/{name}/package.json");
                let layer = Layer::new().file(path, npm_package_json(&name, "1.0.0"));
                builder.layer(layer, Compression::Gzip)
            });
            builder.build().map_err(LoadError::from)
        })
        .collect()
}

/// Layers a second.
async fn measure(program: &Path, workers: usize, arguments: &ScaleArguments) -> Result<f64, LoadError> {
    let folder = tempfile::tempdir().map_err(LoadError::io("create a folder"))?;
    let nats = NatsServer::start().await?;
    let registry = FakeRegistry::start(RegistryOptions::default()).await?;
    let images = images(arguments.layers)?;
    for (number, image) in images.iter().enumerate() {
        registry.put_image(&format!("load/r{number}"), "1", image);
    }
    let warm = ImageBuilder::new().layer(Layer::new().file("warm", "warm"), Compression::Gzip).build()?;
    registry.put_image("load/warm", "1", &warm);
    registry.behave(Behaviour::new(Fault::Latency(Duration::from_millis(arguments.latency))).on(Kind::Blob));
    let feeds = folder.path().join("advisories");
    write_feeds(&feeds)?;
    let slots = format!("workers:\n  layer_slots: {}\n", arguments.slots);
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    std::fs::write(
        folder.path().join("plimsoll.yaml"),
        fleet::configuration(listen, &registry.host(), &feeds, &slots),
    )
    .map_err(LoadError::io("write the configuration"))?;
    let plan = Plan {
        program: program.to_owned(),
        folder: folder.path().to_owned(),
        nats: nats.url(),
        ends: std::collections::BTreeMap::new(),
    };
    let names: Vec<String> = (1..=workers).map(|number| format!("unpack-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let fleet = Fleet::start(plan, &names)?;
    let bus = Bus::connect(Settings::new(nats.url(), "scale"), Metrics::default(), Health::default()).await?;
    let mut facts = bus.tail(subjects::FACTS, &[subjects::FACT_LAYER.to_owned()], From::Beginning).await?;
    push(&bus, "load/warm", &warm).await?;
    facts.next().await.transpose()?;
    // The last worker may still be starting when the first has done the warm-up.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let began = Instant::now();
    for (number, image) in images.iter().enumerate() {
        push(&bus, &format!("load/r{number}"), image).await?;
    }
    let wanted = images.len() * LAYERS;
    let read = async {
        for _ in 0..wanted {
            facts.next().await.transpose()?;
        }
        Ok::<(), LoadError>(())
    };
    tokio::time::timeout(PATIENCE, read).await.map_err(|_| LoadError::Timeout {
        what: format!("layers\n{}", fleet.logs()),
        seconds: PATIENCE.as_secs(),
    })??;
    Ok(wanted as f64 / began.elapsed().as_secs_f64())
}

/// The event of a push, as the gateway publishes it.
async fn push(bus: &Bus, repository: &str, image: &BuiltImage) -> Result<(), LoadError> {
    let event = v1::ImagePushed {
        registry: REGISTRY.into(),
        repository: repository.into(),
        tag: "1".into(),
        digest: image.digest().into(),
        media_type: MANIFEST.into(),
        at: 0,
        lane: "hot".into(),
    };
    let payload = serde_json::to_vec(&event).map_err(LoadError::other)?;
    let message = Outgoing { subject: subjects::IMAGE_PUSHED.to_owned(), payload };
    bus.publish(&message, &format!("push-{repository}"), &[]).await?;
    Ok(())
}
