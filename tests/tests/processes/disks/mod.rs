//! Disks that forget, lie, fail and fill up, under real processes and with the load on.
//!
//! Every replica has a disk of its own that loses what was not synced when its power is cut, and a boot id of its own that
//! changes with it. Each test has a short form and, by an environment variable, a long one:
//!
//! | test | variable | short | long |
//! | --- | --- | --- | --- |
//! | power cuts of all replicas | `QUORATE_POWER_CUTS` | 3 | 20 (2,500 acknowledgements between two cuts) |
//! | power cuts of one, pauses of another | `QUORATE_POWER_ROUNDS` | 2 | 20 |
//! | flipped bits and cut-off files | `QUORATE_ROT_SEEDS`, from `QUORATE_ROT_FIRST_SEED` | 12 | 100 |

mod clocks;
mod failing;
mod old;
mod power;
mod rig;
mod rot;
mod snapshots;
