//! Exact maximum-inner-product search: the K best items of each user, out of all of them.
//!
//! Formula: `list[u]` = the K allowed items i with the largest `score(u, i)`, best first; equal
//! scores in the order of their ids. `score` ([`reference::score`]) is an f32 sum in a fixed order,
//! so that a list depends on the user and the items alone: not on the batch, the threads, the
//! instruction set, or on which items were looked at.
//!
//! # How
//!
//! A product of f32 matrices is bound by the multiply-add units, and nearly all of it is spent on
//! items that are far from every list. So each pair is *screened* in 8-bit integers, four times as
//! many products an instruction, and what might be in the list is scored in f32. The screen errs on
//! one side only: it may let an item pass that is not in the list, and never stops one that is.
//!
//! Items are sorted by norm, largest first, and cut into blocks of 256 that share a scale β; a user
//! has a scale α. With `s = round(v/β)` and `q = round(u/α)`, both integer vectors,
//!
//! ```text
//! ⟨u,v⟩ − αβ⟨q,s⟩ = ⟨u, v − βs⟩ + ⟨u − αq, βs⟩
//! ```
//!
//! and by Cauchy–Schwarz the right side is at most `‖u‖·‖v − βs‖ + ‖u − αq‖·‖βs‖`. The f32 score is
//! within `γ‖u‖‖v‖ + c` of `⟨u,v⟩`, where `γ = m·2⁻²⁴/(1 − m·2⁻²⁴)` for at most m roundings on the
//! way of one product into the sum, and `c = width·2⁻¹⁴⁹` covers products that underflow. Let τ be
//! a score that K of the items found so far reach, or −∞ while there are none. An item can enter
//! the list only with a score of at least τ, hence only if
//!
//! ```text
//! ⟨q,s⟩ ≥ (τ − c)/(αβ) − (‖u‖/α)·(‖v − βs‖ + γ‖v‖)/β − (‖u − αq‖/α)·‖s‖
//! ```
//!
//! The norms on the right are measured: the user's own, and the largest of the block. One unit is
//! taken off for the rounding of this line itself. τ only grows, so nothing that was stopped would
//! pass later; and a user is finished with the first block where `‖u‖·max‖v‖·(1 + γ) + c < τ`,
//! because norms only fall from there.
//!
//! # Why sixteen bits are enough
//!
//! The processor multiplies unsigned by signed bytes and adds neighbours. AVX-512 VNNI adds four
//! products to a 32-bit sum, exactly. AVX2 adds two, with saturation in 16 bits; so an item's bytes
//! are `s + 128`, from 1 to 255, a user's from −63 to 63, and a pair of products is at most
//! 2·255·63 = 32,130: nothing saturates. Pairs are added in wrapping 16-bit integers, starting from
//! `−128·Σq`. Whatever wraps on the way, the end is `⟨q,s⟩` modulo 2¹⁶, and exact because
//! `|⟨q,s⟩| ≤ ‖q‖·‖s‖ ≤ 181·181 = 32,761` by the choice of the scales. All paths use the same
//! bytes, and so let the same items pass. The scales follow the norms and not the largest
//! coordinate: the two terms of the bound are then about equal, where it is least.

mod best;
mod bits;
mod every;
mod index;
mod quantise;
pub mod reference;
mod screen;
mod search;
mod shape;

pub use bits::BitSet;
pub use every::every_score;
pub use index::ItemIndex;
pub(in crate::device) use index::{checked, norm_max};
pub(in crate::device) use quantise::norm;
pub use screen::Path;
pub(super) use screen::Way;
pub use search::{TopK, TopKQuery};
pub use shape::TopKShape;
