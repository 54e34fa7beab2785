//! Does a job's worker go on while a device computes what its arms ask, and do several devices
//! share that? A device waits here until it sees somebody else come, or for so long that the job
//! fails.

use super::jobs::{make_by, shop};
use super::{Device, Order};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::ThreadId;
use std::time::Duration;
use steerage::device::cuda::{Driver, Launch, Memory, Product, View};
use steerage::error::{Error, Result};
use steerage::testing::stand_in;

/// Who waits is seen by who comes.
#[derive(Default)]
struct Meeting {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    #[default]
    Nobody,
    /// One thread has come, and not waited yet.
    Came(ThreadId),
    Waits,
    Met,
}

impl Meeting {
    fn wait(&self) -> Result<()> {
        let mut state = self.state.lock().unwrap();
        if *state != State::Met {
            *state = State::Waits;
            self.changed.notify_all();
            state = self.long_while(state, |state| state != State::Met);
        }
        match *state {
            State::Met => Ok(()),
            _ => Err(Error::Device("nobody came".into())),
        }
    }

    /// Is seen by who waits, and by another thread that has come before and is not done. Who comes
    /// to a device where nobody waits lets another one begin to wait first.
    fn come(&self, patient: bool) {
        let mut state = self.state.lock().unwrap();
        let me = std::thread::current().id();
        if patient {
            state = self.long_while(state, |state| state == State::Nobody);
        }
        *state = match *state {
            State::Nobody => State::Came(me),
            State::Came(first) if first == me => State::Came(me),
            _ => State::Met,
        };
        self.changed.notify_all();
    }

    fn long_while<'a>(
        &self,
        state: MutexGuard<'a, State>,
        holds: fn(State) -> bool,
    ) -> MutexGuard<'a, State> {
        let long = Duration::from_secs(120);
        self.changed.wait_timeout_while(state, long, |state| holds(*state)).unwrap().0
    }
}

/// A device of a meeting, for threads of arms.
struct Guest {
    device: Device,
    meeting: Arc<Meeting>,
    waits: bool,
    comes: bool,
}

fn is_of_arms() -> bool {
    std::thread::current().name() == Some("engine:rerank")
}

impl Driver for Guest {
    fn take(&self, bytes: usize) -> Result<Arc<dyn Memory>> {
        self.device.take(bytes)
    }
    fn upload(&self, from: &[u8], to: &View) -> Result<()> {
        if self.comes && is_of_arms() {
            self.meeting.come(!self.waits);
        }
        self.device.upload(from, to)
    }
    fn download(&self, from: &View, to: &mut [u8]) -> Result<()> {
        if self.waits && is_of_arms() {
            self.meeting.wait()?;
        }
        self.device.download(from, to)
    }
    fn launch(&self, launch: &Launch) -> Result<()> {
        self.device.launch(launch)
    }
    fn product(&self, product: &Product) -> Result<()> {
        self.device.product(product)
    }
    fn has_group_products(&self) -> bool {
        self.device.has_group_products()
    }
    fn has_fp8(&self) -> bool {
        self.device.has_fp8()
    }
    fn synchronize(&self) -> Result<()> {
        self.device.synchronize()
    }
}

/// Lets devices of these numbers be there: whether each waits, and whether it comes.
fn invite(guests: &[(u16, bool, bool)]) -> Option<Arc<Meeting>> {
    let meeting = Arc::<Meeting>::default();
    for (number, waits, comes) in guests {
        let device = Device::open(Order::ALL[0], None)?;
        let meeting = Arc::clone(&meeting);
        stand_in(*number, Arc::new(Guest { device, meeting, waits: *waits, comes: *comes }));
    }
    Some(meeting)
}

#[test]
fn the_next_users_prompts_are_made_while_a_device_reads() {
    let Some(meeting) = invite(&[(910, true, true)]) else { return };
    let shop = shop();
    let run = make_by(1, &shop, "demo", "runs", &["device=\"cuda:910\""]);
    assert!(*meeting.state.lock().unwrap() == State::Met);
    let many = make_by(3, &shop, "demo", "again", &["device=\"cuda:910\""]);
    assert_eq!(shop.lists(&run), shop.lists(&many));
}

#[test]
fn several_devices_share_what_arms_ask() {
    let guests = [(911, true, false), (912, false, true)];
    let Some(meeting) = invite(&guests) else { return };
    let shop = shop();
    let run = make_by(1, &shop, "demo", "runs", &["device=\"cuda:911,912\""]);
    assert!(*meeting.state.lock().unwrap() == State::Met);
    let one = make_by(1, &shop, "demo", "runs", &["device=\"cuda:912\""]);
    assert_eq!(shop.lists(&run), shop.lists(&one));
}
