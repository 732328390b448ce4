//! The identity and life of a finding, and the plan of actions
