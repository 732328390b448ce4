//! The values that every part of Plimsoll speaks about; no input, no output
