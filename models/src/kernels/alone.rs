//! The kernels as a crate of their own, without dependencies: for their tests under a sanitizer or an emulator, where
//! building the whole crate takes too long. `.ci/run` and CONTRIBUTING.md have the command.

#![allow(dead_code, unused_imports)]

#[path = "../activation.rs"]
mod activation;
// As in the crate: the instructions are those of x86-64.
#[cfg(target_arch = "x86_64")]
#[path = "mod.rs"]
mod kernels;
