//! How the processes of a cluster find and recognise each other.
//!
//! Each process listens at its own address and dials those with lower numbers. Both ends of a
//! connection prove that they know the shared secret: each sends a fresh nonce, and answers with a
//! keyed hash over its role, both greetings and the digest of what is to be run. So a stranger, a
//! peer of another job, another host list or another build is refused, and a silent one cannot hold
//! up the start, since every greeting is read on its own thread and under a time limit. What
//! follows the greeting is neither encrypted nor authenticated: use a private network.

use crate::error::{Error, Result, tell};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

const MAGIC: [u8; 8] = *b"STEERAGE";
const GREETING_MAX: Duration = Duration::from_secs(5);
const DIAL_MAX: Duration = Duration::from_millis(500);
const DIAL_AGAIN: Duration = Duration::from_millis(20);

/// The processes of a cluster, and which one this is.
#[derive(Clone)]
pub struct Hosts {
    /// `host:port` of every process, in order.
    pub addresses: Vec<String>,
    /// This process's position.
    pub process: usize,
    /// What all of them know and nobody else does.
    pub secret: String,
    /// How long to wait for the others.
    pub wait_max: Duration,
    /// Bound once and kept: between two passes nobody else can take the address, and a peer that is
    /// faster finds it there.
    pub listener: Arc<OnceLock<TcpListener>>,
}

impl std::fmt::Debug for Hosts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} of {:?}", self.process, self.addresses) // never the secret
    }
}

/// Connects to every other process: one stream each, none at this process's own place.
pub fn connect(hosts: &Hosts, digest: &[u8]) -> Result<Vec<Option<TcpStream>>> {
    let key = *blake3::hash(hosts.secret.as_bytes()).as_bytes();
    let own = &hosts.addresses[hosts.process];
    let unable = |what: &str, address: &str, why: &dyn std::fmt::Display| {
        Error::Cluster(format!("process {}: {what} {address}: {why}", hosts.process))
    };
    if hosts.listener.get().is_none() {
        let bound = TcpListener::bind(own).map_err(|e| unable("listen at", own, &e))?;
        bound.set_nonblocking(true).map_err(|e| unable("listen at", own, &e))?;
        hosts.listener.get_or_init(|| bound);
    }
    let listener = hosts.listener.get().expect("it was put there just now");
    let deadline = Instant::now() + hosts.wait_max;
    let mut streams: Vec<Option<TcpStream>> = hosts.addresses.iter().map(|_| None).collect();
    for (peer, address) in hosts.addresses.iter().enumerate().take(hosts.process) {
        let greeting = Greeting { key, me: hosts.process as u64, digest, dialer: true };
        let stream = dial(address, peer as u64, &greeting, deadline);
        streams[peer] = Some(stream.map_err(|e| unable("connect to", address, &e))?);
    }
    accept(listener, hosts, &key, digest, &mut streams, deadline)?;
    Ok(streams)
}

/// Connects to a process, which may start later. A name that nobody knows is told of at once: it
/// may be a mistake, or that of a machine that is not there yet.
fn dial(address: &str, peer: u64, greeting: &Greeting, end: Instant) -> std::io::Result<TcpStream> {
    let mut unknown = None;
    loop {
        match resolve(address) {
            Ok(resolved) => {
                unknown = None;
                if let Some(stream) = greet(resolved, peer, greeting)? {
                    return Ok(stream);
                }
            }
            Err(why) if why.kind() == ErrorKind::InvalidInput => return Err(why),
            Err(why) => {
                if unknown.is_none() {
                    tell(format_args!("steerage: {address}: {why}; trying again"));
                }
                unknown = Some(why);
            }
        }
        if Instant::now() > end {
            let late = || bad("not reached in time: start it, or raise --wait-seconds".into());
            return Err(unknown.unwrap_or_else(late));
        }
        std::thread::sleep(DIAL_AGAIN);
    }
}

/// Where an address is. [`ErrorKind::InvalidInput`] if it is not written like one.
fn resolve(address: &str) -> std::io::Result<SocketAddr> {
    let found = address.to_socket_addrs().map_err(|why| {
        let what = match why.kind() {
            ErrorKind::InvalidInput => format!("expected host:port in the hosts file: {why}"),
            _ => format!("the host's name is not known: {why}"),
        };
        std::io::Error::new(why.kind(), what)
    });
    found?.next().ok_or_else(|| std::io::Error::other("the host's name has no address"))
}

/// A connection to a process; none if it is not there yet, or still at its last pass.
fn greet(at: SocketAddr, peer: u64, greeting: &Greeting) -> std::io::Result<Option<TcpStream>> {
    let Ok(mut stream) = TcpStream::connect_timeout(&at, DIAL_MAX) else { return Ok(None) };
    if stream.local_addr().ok() == stream.peer_addr().ok() {
        return Ok(None); // nobody listens, and the system gave this end the very port it dials
    }
    match greeting.exchange(&mut stream) {
        Ok(found) if found == peer => Ok(Some(stream)),
        Ok(found) => Err(bad(format!("expected process {peer}, found process {found}"))),
        Err(refused) if refused.kind() == ErrorKind::InvalidData => Err(refused),
        Err(_) => Ok(None),
    }
}

fn accept(
    listener: &TcpListener,
    hosts: &Hosts,
    key: &[u8; 32],
    digest: &[u8],
    streams: &mut [Option<TcpStream>],
    deadline: Instant,
) -> Result<()> {
    let (greeted, arrivals) = mpsc::channel();
    let own = hosts.process;
    while streams.iter().skip(own + 1).any(Option::is_none) {
        if let Ok((mut stream, from)) = listener.accept() {
            let (greeted, key, digest) = (greeted.clone(), *key, digest.to_vec());
            std::thread::spawn(move || {
                let greeting = Greeting { key, me: own as u64, digest: &digest, dialer: false };
                let peer = stream.set_nonblocking(false);
                let peer = peer.and_then(|()| greeting.exchange(&mut stream));
                let _ = greeted.send((from, peer.map(|peer| (peer as usize, stream))));
            });
        }
        while let Ok((from, outcome)) = arrivals.try_recv() {
            match outcome {
                Ok((peer, stream))
                    if peer > own && streams.get(peer).is_some_and(Option::is_none) =>
                {
                    streams[peer] = Some(stream);
                }
                Ok((peer, _)) => {
                    tell(format_args!("steerage: refused {from}: process {peer} not expected"))
                }
                Err(error) => tell(format_args!("steerage: refused {from}: {error}")),
            }
        }
        if Instant::now() > deadline {
            let missing: Vec<_> =
                (own + 1..streams.len()).filter(|p| streams[*p].is_none()).collect();
            let waited = hosts.wait_max.as_secs();
            return Err(Error::Cluster(format!(
                "processes {missing:?} did not connect within {waited} s: start them, or raise \
                 --wait-seconds"
            )));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// One side's part of the mutual proof.
struct Greeting<'a> {
    key: [u8; 32],
    me: u64,
    digest: &'a [u8],
    dialer: bool,
}

impl Greeting<'_> {
    /// Proves this side, checks the other, and gives the other's number.
    fn exchange(&self, stream: &mut TcpStream) -> std::io::Result<u64> {
        stream.set_read_timeout(Some(GREETING_MAX))?;
        stream.set_write_timeout(Some(GREETING_MAX))?;
        stream.set_nodelay(true)?;
        let mut hello = [0; 48];
        hello[..8].copy_from_slice(&MAGIC);
        hello[8..16].copy_from_slice(&self.me.to_le_bytes());
        std::fs::File::open("/dev/urandom")?.read_exact(&mut hello[16..])?;
        stream.write_all(&hello)?;
        let mut other = [0; 48];
        stream.read_exact(&mut other)?;
        if other[..8] != MAGIC {
            return Err(bad("it does not speak this protocol".into()));
        }
        let (dialed, listened) = if self.dialer { (&hello, &other) } else { (&other, &hello) };
        let proof = |role: &[u8]| {
            let mut hasher = blake3::Hasher::new_keyed(&self.key);
            for part in [role, dialed, listened, self.digest] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
            hasher.finalize()
        };
        let (mine, theirs) = if self.dialer { ("dial", "listen") } else { ("listen", "dial") };
        stream.write_all(proof(mine.as_bytes()).as_bytes())?;
        let mut answer = [0; 32];
        stream.read_exact(&mut answer)?;
        // blake3's comparison takes the same time whatever differs.
        if blake3::Hash::from(answer) != proof(theirs.as_bytes()) {
            return Err(bad("another secret, job, host list or worker count".into()));
        }
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(None)?;
        let number = other[8..16].try_into().expect("eight of the 48 bytes");
        Ok(u64::from_le_bytes(number))
    }
}

fn bad(why: String) -> std::io::Error {
    std::io::Error::new(ErrorKind::InvalidData, why)
}
