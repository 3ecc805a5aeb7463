//! What holds no secret: fixtures of code, lock files, logs and prose.
