//! What a decoder has read of ways that go on, within a limit of memory.
//!
//! What does not fit is forgotten, what was asked for longest ago first, and read again when it is
//! asked for: the logits have the same bits either way, so that memory changes no list.

use crate::model::decoder::KeyValues;
use crate::types::Origin;
use std::collections::HashMap;
use std::sync::Mutex;

/// A way: whose, and in which graph.
pub type WayKey = (Origin, usize);

/// What was read of ways.
pub struct KeptWays {
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ways: HashMap<WayKey, (KeyValues, u64)>,
    bytes: usize,
    /// Counts up with what is put.
    turn: u64,
}

impl KeptWays {
    /// Nothing yet, and at most so many bytes.
    pub fn new(bytes_max: usize) -> KeptWays {
        KeptWays { bytes_max, state: Mutex::default() }
    }

    /// What was read of a way, if it is still there; nothing otherwise. It is taken out: whoever
    /// asks puts it back.
    pub fn take(&self, way: WayKey) -> KeyValues {
        let mut state = self.lock();
        let Some((kept, _)) = state.ways.remove(&way) else { return KeyValues::default() };
        state.bytes -= kept.bytes();
        kept
    }

    /// Keeps what was read of a way, as far as it fits.
    pub fn put(&self, way: WayKey, kept: KeyValues) {
        let bytes = kept.bytes();
        if bytes > self.bytes_max {
            return;
        }
        let mut state = self.lock();
        while state.bytes + bytes > self.bytes_max {
            let oldest = state.ways.iter().min_by_key(|(_, (_, turn))| *turn).map(|(way, _)| *way);
            let gone = oldest.and_then(|oldest| state.ways.remove(&oldest));
            let Some((gone, _)) = gone else { break };
            state.bytes -= gone.bytes();
        }
        state.turn += 1;
        let turn = state.turn;
        state.bytes += bytes;
        if let Some((before, _)) = state.ways.insert(way, (kept, turn)) {
            state.bytes -= before.bytes();
        }
    }

    /// Forgets all ways of a user.
    pub fn forget(&self, origin: Origin) {
        let mut state = self.lock();
        let State { ways, bytes, .. } = &mut *state;
        ways.retain(|(of, _), (kept, _)| {
            let stays = *of != origin;
            *bytes -= if stays { 0 } else { kept.bytes() };
            stays
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}
