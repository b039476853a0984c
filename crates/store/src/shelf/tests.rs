//! The shelf keeps what it is given, and gives back nothing that it was not given.

use forewarn_models::bundle::{Making, TrainedOn, digest};
use forewarn_models::{Forest, ForestSettings};

use super::*;

fn packed(seed: u64) -> Packed {
    let rows: Vec<f32> = (0..600).map(|i| ((i * 37) % 101) as f32).collect();
    let settings = ForestSettings {
        trees: 5,
        sample: 64,
        seed,
        ..ForestSettings::default()
    };
    let forest = Forest::fit(&rows, 3, settings).expect("rows enough");
    let making = Making {
        versions: "v".into(),
        scope: "default/web-01/host/1".into(),
        feature_set: "host/1".into(),
        metrics: vec!["cpu.utilization".into()],
        step_ms: 1_000,
        settings,
        trained: TrainedOn {
            from_ms: 0,
            to_ms: 1,
            steps: 1,
            quarantined: 0,
            grown_on: 1,
            held_out: 0,
            auroc: 0.5,
            levels: Vec::new(),
        },
        code_version: "0".into(),
        example: vec![1.0; 3],
    };
    Packed::new(making, &forest, vec![7])
}

fn shelf() -> (tempfile::TempDir, Shelf) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config {
        path: folder.path().join("models"),
    };
    let shelf = Shelf::open(&config).expect("a folder of our own");
    (folder, shelf)
}

#[tokio::test]
async fn a_bundle_comes_back_and_putting_it_twice_is_putting_it_once() {
    let (_folder, shelf) = shelf();
    let packed = packed(1);
    let name = packed.digest.clone();
    for _ in 0..2 {
        shelf.put(packed.clone()).await.expect("durable");
    }
    let bundle = shelf.bundle(&name).await.expect("sound");
    assert_eq!((bundle.digest, bundle.calibration), (name.clone(), vec![7]));
}

#[tokio::test]
async fn what_is_missing_damaged_or_no_digest_is_an_error_that_says_so() {
    let (folder, shelf) = shelf();
    let packed = packed(1);
    let name = packed.digest.clone();
    shelf.put(packed.clone()).await.expect("durable");
    assert!(matches!(
        shelf.bundle(&digest(b"another")).await,
        Err(Error::Missing(_))
    ));
    for hostile in ["", "../../etc/passwd", &"z".repeat(64)] {
        assert!(matches!(
            shelf.bundle(hostile).await,
            Err(Error::Missing(_))
        ));
    }
    let artefact = &packed.blobs[0];
    let file = folder
        .path()
        .join("models")
        .join(&artefact.0[..2])
        .join(&artefact.0);
    let mut bytes = artefact.1.clone();
    bytes[10] ^= 4;
    std::fs::write(&file, &bytes).expect("writable");
    assert!(matches!(shelf.bundle(&name).await, Err(Error::Wrong(_))));
    // Putting it again mends it.
    shelf.put(packed).await.expect("durable");
    assert!(shelf.bundle(&name).await.is_ok());
    std::fs::remove_file(file).expect("there");
    assert!(matches!(shelf.bundle(&name).await, Err(Error::Missing(_))));
}
