//! The bridge between tokio and rayon, and the byte budget
