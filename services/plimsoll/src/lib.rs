//! The command line, and every role in one process
