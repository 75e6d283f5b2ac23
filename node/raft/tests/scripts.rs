//! Behaviours told as stories: each file under `scripts/` is one, commands in, what happened out.
//!
//! Nothing happens by itself. Messages wait on the wire until a script delivers, drops or holds them;
//! disks finish at once unless told to hold. `UPDATE_GOLDENFILES=1` writes what happened into the
//! scripts, to be read as a diff.
//!
//! | command | what it does |
//! | --- | --- |
//! | `cluster nodes=3 learners=0 spare=0 [SWITCH=VALUE]…` | starts a cluster; spare nodes wait to be added |
//! | `preset N term=T TERM…` | what a node that is down will find on its disk: an entry of each term |
//! | `tick N [NODE]…` | lets N ticks pass, on all nodes or these |
//! | `deliver [from=N] [to=N] [kind=K]` | delivers what is on the wire now; `settle` goes on until nothing is |
//! | `drop`, `hold`, `double` (same filters) | loses messages, keeps them back until `release`, doubles them |
//! | `campaign N`, `elect N` | lets a node campaign; and delivers until it leads |
//! | `propose N VALUE…`, `read N ID [lease]` | asks a node |
//! | `cut A B`, `isolate N`, `heal` | cuts the link from A to B, all links of N, mends all |
//! | `crash N`, `restart N`, `wipe N`, `readmit N` | a process ends, begins; its disk is lost; it is taken back |
//! | `disk N hold`, `disk N [COUNT]` | the disk stops finishing writes; finishes some, or goes on |
//! | `machine N hold`, `machine N go` | the state machine stops applying; goes on |
//! | `snapshot N [keep=N]` | takes a snapshot and compacts the log |
//! | `change N [add=N] [learner=N] [join=N] [promote=N] [demote=N] [remove=N] [way=joint\|by_hand]` | membership; `leave N` leaves the joint configuration |
//! | `transfer N TO`, `unreachable N PEER`, `disk_lost N PEER`, `lapse N` | as in the core |
//! | `status [N]…`, `log [N]…`, `wire` | shows |

mod script;

use std::panic::{AssertUnwindSafe, catch_unwind};

use script::Script;

#[test]
fn every_behaviour_is_as_told() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no scripts in {folder}");
    let mut wrong = Vec::new();
    for path in paths {
        let story = || goldenscript::run(&mut Script::default(), &path);
        let told = catch_unwind(AssertUnwindSafe(story));
        let name = path.file_name().unwrap_or_default().display();
        match told {
            Ok(Ok(())) => {}
            Ok(Err(error)) => wrong.push(format!("{name}: {error}")),
            Err(_) => wrong.push(format!("{name}: panicked, or tells another story (above)")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
