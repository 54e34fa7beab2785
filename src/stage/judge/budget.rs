//! What a run may spend, and what it has.

use crate::error::{Error, Result};
use crate::remote::Usage;
use serde::{Deserialize, Serialize};
use std::sync::Mutex;

/// What may be spent by one run, however often it is begun again. 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Budget {
    /// Answers.
    pub requests_max: u64,
    /// Tokens, read and written.
    pub tokens_max: u64,
    /// In the unit of the prices.
    pub cost_max: f64,
    /// For a million tokens that are read.
    pub input_price: f64,
    /// For a million tokens that are written.
    pub output_price: f64,
}

impl Budget {
    /// What so many tokens cost.
    pub fn cost(&self, usage: Usage) -> f64 {
        let cost = usage.tokens_in as f64 * self.input_price;
        (cost + usage.tokens_out as f64 * self.output_price) / 1e6
    }
}

/// What was paid, and what was not, because it was paid before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Paid {
    /// Answers of the server, those that could not be used included.
    pub requests: u64,
    /// Their tokens.
    pub usage: Usage,
    /// Answers that were there already.
    pub cached: u64,
    /// What was paid costs so much.
    pub cost: f64,
}

/// A run's account, shared by everybody who asks.
pub struct Account {
    budget: Budget,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    paid: Paid,
    /// Of what is being asked.
    promised: Usage,
    asking: u64,
}

impl Account {
    /// An account of which so much is spent.
    pub fn new(budget: Budget, requests: u64, usage: Usage) -> Account {
        let paid = Paid { requests, usage, ..Paid::default() };
        Account { budget, state: Mutex::new(State { paid, ..State::default() }) }
    }

    /// Sets something aside for a prompt that may take so much.
    ///
    /// Errors: more than the budget has left.
    pub fn promise(&self, about: Usage) -> Result<()> {
        let mut state = self.lock();
        let Budget { requests_max, tokens_max, cost_max, .. } = self.budget;
        let all = sum(sum(state.paid.usage, state.promised), about);
        let requests = state.paid.requests + state.asking + 1;
        let (tokens, cost) = (all.tokens_in + all.tokens_out, self.budget.cost(all));
        let over = |name: &str, spent: String, most: String| {
            Err(Error::Incomplete(format!(
                "budget.{name}: the next prompt would come to {spent}, and {most} is allowed: \
                 raise it and run again: what was answered is kept"
            )))
        };
        if requests_max > 0 && requests > requests_max {
            return over("requests_max", requests.to_string(), requests_max.to_string());
        }
        if tokens_max > 0 && tokens > tokens_max {
            return over("tokens_max", tokens.to_string(), tokens_max.to_string());
        }
        if cost_max > 0.0 && cost > cost_max {
            return over("cost_max", format!("{cost:.4}"), cost_max.to_string());
        }
        state.promised = sum(state.promised, about);
        state.asking += 1;
        Ok(())
    }

    /// Pays what an answer took, instead of what was promised; nothing where there was none.
    pub fn settle(&self, about: Usage, took: Option<Usage>) {
        let mut state = self.lock();
        state.promised.tokens_in -= about.tokens_in;
        state.promised.tokens_out -= about.tokens_out;
        state.asking -= 1;
        if let Some(usage) = took {
            state.paid.usage = sum(state.paid.usage, usage);
            state.paid.requests += 1;
        }
    }

    /// Notes an answer that was there.
    pub fn cached(&self) {
        self.lock().paid.cached += 1;
    }

    /// What was paid so far.
    pub fn paid(&self) -> Paid {
        let paid = self.lock().paid;
        Paid { cost: self.budget.cost(paid.usage), ..paid }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

fn sum(a: Usage, b: Usage) -> Usage {
    Usage { tokens_in: a.tokens_in + b.tokens_in, tokens_out: a.tokens_out + b.tokens_out }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(tokens_in: u64, tokens_out: u64) -> Usage {
        Usage { tokens_in, tokens_out }
    }

    #[test]
    fn what_is_promised_counts_until_it_is_paid() {
        let budget = Budget { tokens_max: 100, ..Budget::default() };
        let account = Account::new(budget, 1, usage(40, 10));
        assert!(account.promise(usage(30, 10)).is_ok());
        let refused = account.promise(usage(10, 1)).expect_err("101 tokens").to_string();
        assert!(refused.starts_with("budget.tokens_max: the next prompt would come to 101"));
        account.settle(usage(30, 10), Some(usage(20, 5)));
        assert!(account.promise(usage(10, 1)).is_ok());
        account.settle(usage(10, 1), None);
        assert_eq!(account.paid().usage, usage(60, 15));
        assert_eq!(account.paid().requests, 2);
    }

    #[test]
    fn requests_and_costs_have_limits_of_their_own() {
        let budget = Budget { requests_max: 1, ..Budget::default() };
        let account = Account::new(budget, 0, Usage::default());
        assert!(account.promise(usage(1, 1)).is_ok());
        assert!(account.promise(usage(1, 1)).is_err(), "one is being asked");
        let budget =
            Budget { cost_max: 3.0, input_price: 1.0, output_price: 2.0, ..Budget::default() };
        let account = Account::new(budget, 0, Usage::default());
        assert!(account.promise(usage(1_000_000, 1_000_000)).is_ok(), "3 exactly");
        assert!(account.promise(usage(1, 0)).is_err());
    }
}
