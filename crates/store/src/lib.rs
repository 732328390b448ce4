//! Persistence of inventory, components, findings, inbox and outbox
