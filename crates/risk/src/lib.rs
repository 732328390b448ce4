//! A match with its exposure and intelligence becomes a class, a rank and a sentence
