//! Byte pair encoding of one piece: merges by rank, lowest first (Sennrich et al. 2016, on bytes).

use std::collections::HashMap;

use ahash::RandomState;

/// No pair: after the last symbol, or one that does not merge.
const NONE: u32 = u32::MAX;

/// A vocabulary of byte strings and the merges that make them.
#[derive(Debug)]
pub(super) struct Bpe {
    tokens: HashMap<Box<[u8]>, u32, RandomState>,
    /// Id of each single byte.
    bytes: [u32; 256],
    /// The ids of a pair to the rank of its merge and the id of the result.
    merges: HashMap<(u32, u32), (u32, u32), RandomState>,
}

impl Bpe {
    /// `tokens` are the bytes of each id; `merges` the ids of each pair, by rank.
    ///
    /// # Errors
    /// In words: a byte without a token, a merge whose result is none, a token that stands twice.
    pub(super) fn new(tokens: Vec<Box<[u8]>>, merges: &[(u32, u32)]) -> Result<Self, String> {
        let mut bytes = [NONE; 256];
        for (id, token) in tokens.iter().enumerate() {
            if let [byte] = **token {
                bytes[usize::from(byte)] = id as u32;
            }
        }
        if let Some(byte) = bytes.iter().position(|id| *id == NONE) {
            return Err(format!("there is no token for the byte {byte}"));
        }
        let size = tokens.len();
        let mut joined = Vec::new();
        let mut pairs = Vec::with_capacity(merges.len());
        for &(left, right) in merges {
            let [Some(a), Some(b)] = [left, right].map(|id| tokens.get(id as usize)) else {
                return Err(format!("a merge names the token {left} or {right}, but there are {size}"));
            };
            joined.clear();
            joined.extend_from_slice(a);
            joined.extend_from_slice(b);
            pairs.push((left, right, joined.clone()));
        }
        let tokens: HashMap<Box<[u8]>, u32, RandomState> =
            tokens.into_iter().enumerate().map(|(id, token)| (token, id as u32)).collect();
        if tokens.len() != size {
            return Err("a token stands twice".to_owned());
        }
        let mut merges = HashMap::with_capacity_and_hasher(pairs.len(), RandomState::default());
        for (rank, (left, right, joined)) in pairs.into_iter().enumerate() {
            let Some(&id) = tokens.get(joined.as_slice()) else {
                return Err(format!("the merge of {left} and {right} makes no token"));
            };
            merges.entry((left, right)).or_insert((rank as u32, id));
        }
        Ok(Bpe { tokens, bytes, merges })
    }

    /// Calls `token` with each id of a piece and the byte of the piece at which it begins.
    pub(super) fn encode(&self, piece: &[u8], work: &mut Symbols, mut token: impl FnMut(u32, usize)) {
        if let Some(&id) = self.tokens.get(piece) {
            return token(id, 0);
        }
        let Symbols { ids, starts, ranks } = work;
        ids.clear();
        starts.clear();
        ids.extend(piece.iter().map(|byte| self.bytes[usize::from(*byte)]));
        starts.extend(0..piece.len() as u32);
        ranks.clear();
        ranks.extend(ids.windows(2).map(|pair| self.rank(pair[0], pair[1])));
        ranks.push(NONE);
        loop {
            // The leftmost of the lowest rank. Pieces are short, so a scan is quicker than a heap.
            let mut at = 0;
            let mut best = NONE;
            for (index, &rank) in ranks.iter().enumerate() {
                if rank < best {
                    (best, at) = (rank, index);
                }
            }
            if best == NONE {
                break;
            }
            let Some(&(_, id)) = self.merges.get(&(ids[at], ids[at + 1])) else { break };
            ids[at] = id;
            ids.remove(at + 1);
            starts.remove(at + 1);
            ranks.remove(at + 1);
            ranks[at] = ids.get(at + 1).map_or(NONE, |&next| self.rank(id, next));
            if at > 0 {
                ranks[at - 1] = self.rank(ids[at - 1], id);
            }
        }
        for (&id, &start) in ids.iter().zip(starts.iter()) {
            token(id, start as usize);
        }
    }

    fn rank(&self, left: u32, right: u32) -> u32 {
        self.merges.get(&(left, right)).map_or(NONE, |(rank, _)| *rank)
    }
}

/// Room for the symbols of a piece, kept between pieces.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    ids: Vec<u32>,
    starts: Vec<u32>,
    ranks: Vec<u32>,
}
