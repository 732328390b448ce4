//! NATS JetStream: subjects, streams, claims, artifacts; the runtimes of stages and folds
