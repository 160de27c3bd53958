//! Limits of guessing passwords and codes, applied before the comparison.
//!
//! Each address has a few attempts, then growing delays. All addresses from which the owner never signed in also share one
//! such limit, against attacks from many addresses. A refused attempt is not compared and has no effect on codes or on other
//! clients. The token and cookies have 256 bits and no limit.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Mutex as AsyncMutex;

use super::devices::Rights;
use super::peer::Peer;
use super::state::lock;

/// Wrong attempts without delay, the delay after one more, which doubles with each, and the longest delay. For each longest
/// delay without a wrong attempt, one is forgiven.
struct TryLimit {
    free: u32,
    first: Duration,
    longest: Duration,
}

/// Of an address: at most ten attempts in the ten minutes for which a code is valid.
const OF_ADDRESS: TryLimit = TryLimit {
    free: 5,
    first: Duration::from_secs(20),
    longest: Duration::from_mins(15),
};
/// Of all addresses from which the owner never signed in: at most 25 attempts while a code is valid, of a million codes; and
/// 1440 passwords a day. Longer delays would lock out new devices during an attack.
const OF_STRANGERS: TryLimit = TryLimit {
    free: 10,
    first: Duration::from_secs(1),
    longest: Duration::from_mins(1),
};
/// Most addresses remembered as the owner's.
const MOST_KNOWN: usize = 1000;
/// Refused attempts that are logged within a second, so that an attack does not fill the disk. Compared attempts are few and
/// all logged.
const MOST_LOGGED: u32 = 10;

/// Wrong attempts, and the time of the last one.
#[derive(Debug, Clone, Copy)]
struct WrongTries {
    count: u32,
    last: Instant,
}

impl WrongTries {
    /// The attempts that are not forgiven.
    fn left(&self, limit: &TryLimit, now: Instant) -> u32 {
        let forgiven = now.duration_since(self.last).as_secs() / limit.longest.as_secs();
        self.count
            .saturating_sub(forgiven.try_into().unwrap_or(u32::MAX))
    }

    /// The delay before the next attempt; zero if it is allowed.
    fn wait(&self, limit: &TryLimit, now: Instant) -> Duration {
        let Some(doublings) = self.left(limit, now).checked_sub(limit.free) else {
            return Duration::ZERO;
        };
        let pause = limit
            .first
            // Saturating, although `add` bounds the count: a delay must never wrap around to zero.
            .saturating_mul(2_u32.saturating_pow(doublings))
            .min(limit.longest);
        pause.saturating_sub(now.duration_since(self.last))
    }

    fn add(&mut self, limit: &TryLimit, now: Instant) {
        // A greater number than that of the longest delay would only take longer to be forgiven.
        let most = limit.free
            + limit
                .longest
                .as_secs()
                .div_ceil(limit.first.as_secs())
                .ilog2()
            + 1;
        *self = Self {
            count: (self.left(limit, now) + 1).min(most),
            last: now,
        };
    }
}

#[derive(Debug, Default)]
struct Ledger {
    /// By [`Peer::network`].
    addresses: HashMap<Peer, WrongTries>,
    strangers: Option<WrongTries>,
}

impl Ledger {
    /// The delay before the next attempt from this network.
    fn wait(&self, network: Peer, is_stranger: bool, now: Instant) -> Option<Duration> {
        let address = self
            .addresses
            .get(&network)
            .map(|tries| tries.wait(&OF_ADDRESS, now));
        let all = self
            .strangers
            .filter(|_| is_stranger)
            .map(|tries| tries.wait(&OF_STRANGERS, now));
        // The longer of the two delays: a new address waits with all strangers.
        address.max(all).filter(|wait| !wait.is_zero())
    }

    fn add(&mut self, network: Peer, is_stranger: bool, now: Instant) {
        let none = WrongTries {
            count: 0,
            last: now,
        };
        // The map is small, since only compared attempts are counted.
        self.addresses
            .retain(|_, tries| tries.left(&OF_ADDRESS, now) > 0);
        self.addresses
            .entry(network)
            .or_insert(none)
            .add(&OF_ADDRESS, now);
        if is_stranger {
            self.strangers.get_or_insert(none).add(&OF_STRANGERS, now);
        }
    }
}

/// Why an attempt to sign in was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInRefused {
    /// The password or code is wrong.
    Wrong,
    /// It was not compared; the next one is allowed after this delay.
    TooMany(Duration),
}

/// Attempts to sign in.
#[derive(Debug, Default)]
pub struct SignIns {
    /// Held during a comparison: one at a time, in the order of arrival, even if the client has hung up. A comparison takes
    /// 19 MiB.
    ledger: Arc<AsyncMutex<Ledger>>,
    /// Networks that have sent the owner's token or cookie.
    known: Mutex<HashSet<Peer>>,
    /// Refused attempts logged in the second that began then.
    logged: Mutex<Option<(Instant, u32)>>,
}

impl SignIns {
    /// Remembers an address of the owner. Not of guests: with one guest's password many addresses could become known, each
    /// with its own attempts at the owner's.
    pub(super) fn remember(&self, peer: Peer) {
        let mut known = lock(&self.known);
        if !known.contains(&peer.network()) {
            // Forgetting the owner's addresses costs a delay during an attack, but the set must not
            // grow without bound.
            if known.len() >= MOST_KNOWN {
                known.clear();
            }
            known.insert(peer.network());
        }
    }

    /// Compares a password or a code, if the limits allow it.
    ///
    /// - `is_owner`: the request has the owner's token or cookie, so nothing is being guessed
    /// - `compare`: may block
    pub async fn check(
        &self,
        peer: Peer,
        is_owner: bool,
        compare: impl FnOnce() -> Option<Rights> + Send + 'static,
    ) -> Result<Rights, SignInRefused> {
        let network = peer.network();
        // Moved into the comparison below, so that an attempt counts even if the client hangs up.
        let mut ledger = Arc::clone(&self.ledger).lock_owned().await;
        let is_stranger = !lock(&self.known).contains(&network);
        if !is_owner && let Some(wait) = ledger.wait(network, is_stranger, Instant::now()) {
            return Err(SignInRefused::TooMany(wait));
        }
        let compared = tokio::task::spawn_blocking(move || {
            let rights = compare();
            match rights {
                None if !is_owner => ledger.add(network, is_stranger, Instant::now()),
                // Only the owner's password clears wrong attempts.
                Some(Rights::Change) => drop(ledger.addresses.remove(&network)),
                _ => {}
            }
            rights
        });
        let rights = compared.await.ok().flatten().ok_or(SignInRefused::Wrong)?;
        if rights == Rights::Change {
            self.remember(peer);
        }
        Ok(rights)
    }

    /// Whether one more refused attempt is logged.
    pub fn is_logged(&self) -> bool {
        let mut logged = lock(&self.logged);
        let (since, count) = logged
            .filter(|(since, _)| since.elapsed().as_secs() == 0)
            .unwrap_or((Instant::now(), 0));
        *logged = Some((since, count.saturating_add(1)));
        count < MOST_LOGGED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::CODE_LASTS;

    fn peer(text: &str) -> Peer {
        Peer::Address(text.parse().unwrap())
    }

    /// Attempts that are compared while a code is valid, with one each 100 ms.
    fn compared(network: impl Fn(u32) -> Peer, is_stranger: bool) -> usize {
        let mut ledger = Ledger::default();
        let begin = Instant::now();
        let steps = u32::try_from(CODE_LASTS.as_millis() / 100).unwrap();
        let tries = (0..steps).filter(|step| {
            let now = begin + Duration::from_millis(100) * *step;
            let is_free = ledger.wait(network(*step), is_stranger, now).is_none();
            if is_free {
                ledger.add(network(*step), is_stranger, now);
            }
            is_free
        });
        tries.count()
    }

    #[test]
    fn guesses_are_few_while_a_code_is_valid() {
        let of_one = compared(|_| peer("192.0.2.1"), true);
        assert!((5..=10).contains(&of_one), "{of_one}");
        let of_many = compared(
            |step| peer(&format!("10.{}.{}.1", step / 256, step % 256)),
            true,
        );
        assert!((10..=25).contains(&of_many), "{of_many}");
        let networks = compared(
            |step| peer(&format!("2001:db8:1:2::{step:x}")).network(),
            false,
        );
        assert_eq!(networks, of_one, "a provider's customer has 2^64 addresses");
    }

    #[test]
    fn delays_grow_and_are_forgiven() {
        let mut tries = WrongTries {
            count: 0,
            last: Instant::now(),
        };
        let mut waits = Vec::new();
        let mut now = tries.last;
        for _ in 0..13 {
            tries.add(&OF_ADDRESS, now);
            waits.push(tries.wait(&OF_ADDRESS, now).as_secs());
            now += tries.wait(&OF_ADDRESS, now);
        }
        assert_eq!(
            waits,
            [0, 0, 0, 0, 20, 40, 80, 160, 320, 640, 900, 900, 900]
        );
        let later = tries.last + OF_ADDRESS.longest * 20;
        assert_eq!(tries.wait(&OF_ADDRESS, later), Duration::ZERO);
        tries.add(&OF_ADDRESS, later);
        assert_eq!(tries.count, 1, "forgotten");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn refused_attempts_are_not_compared_and_delay_nobody() {
        let sign_ins = SignIns::default();
        let wrong = |from: &'static str, is_owner| sign_ins.check(peer(from), is_owner, || None);
        for _ in 0..5 {
            assert_eq!(wrong("192.0.2.1", false).await, Err(SignInRefused::Wrong));
        }
        for _ in 0..1000 {
            let compare = || panic!("it was compared");
            let refused = sign_ins.check(peer("192.0.2.1"), false, compare).await;
            assert!(
                matches!(refused, Err(SignInRefused::TooMany(_))),
                "{refused:?}"
            );
        }
        let guest = sign_ins
            .check(peer("192.0.2.2"), false, || Some(Rights::Listen))
            .await;
        assert_eq!(guest, Ok(Rights::Listen), "another address");
        assert_eq!(
            wrong("192.0.2.1", true).await,
            Err(SignInRefused::Wrong),
            "a device that is signed in"
        );
        // The owner's addresses do not share the strangers' limit.
        sign_ins.remember(peer("192.0.2.3"));
        for last in 10..15 {
            let from = peer(&format!("192.0.2.{last}"));
            assert_eq!(
                sign_ins.check(from, false, || None).await,
                Err(SignInRefused::Wrong)
            );
        }
        let refused = wrong("192.0.2.20", false).await;
        assert!(
            matches!(refused, Err(SignInRefused::TooMany(_))),
            "{refused:?}"
        );
        let owner = sign_ins
            .check(peer("192.0.2.3"), false, || Some(Rights::Change))
            .await;
        assert_eq!(owner, Ok(Rights::Change));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn guests_who_sign_in_again_have_no_more_attempts() {
        let sign_ins = SignIns::default();
        let mut compared = 0;
        for _ in 0..20 {
            let wrong = sign_ins.check(peer("192.0.2.1"), false, || None).await;
            compared += usize::from(wrong == Err(SignInRefused::Wrong));
            let _ = sign_ins
                .check(peer("192.0.2.1"), false, || Some(Rights::Listen))
                .await;
        }
        assert_eq!(compared, 5);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn comparisons_run_one_at_a_time_without_clients() {
        let sign_ins = SignIns::default();
        let running = Arc::new(Mutex::new((0, 0)));
        for _ in 0..4 {
            let running = Arc::clone(&running);
            let compare = move || {
                {
                    let mut running = lock(&running);
                    running.0 += 1;
                    running.1 = running.1.max(running.0);
                }
                std::thread::sleep(Duration::from_millis(50));
                lock(&running).0 -= 1;
                None
            };
            let check = sign_ins.check(peer("192.0.2.1"), false, compare);
            // The client hangs up.
            let _ = tokio::time::timeout(Duration::from_millis(60), check).await;
        }
        assert_eq!(lock(&running).1, 1);
        let ledger = sign_ins.ledger.lock().await;
        let counted = ledger.addresses[&peer("192.0.2.1")].count;
        assert!(
            counted >= 2,
            "{counted}: an attempt counts without its client"
        );
    }
}
