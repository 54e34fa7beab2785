//! Who judges.

use super::Opened;
use crate::error::Result;
use crate::spec::{LabelSpec, TeacherSpec};
use crate::stage::judge::{Attributes, Teacher};
use crate::stage::texts::Texts;
use std::sync::Arc;

/// Users whose requests are judged at once, where nobody has to be waited for.
const USERS_AT_ONCE: usize = 256;

/// A teacher, and how it is asked.
pub struct Asked {
    /// Who.
    pub teacher: Arc<dyn Teacher>,
    /// Users whose requests it gets at once, at most.
    pub users_at_once: usize,
}

/// The job's teacher.
pub fn open(spec: &LabelSpec, opened: &Opened, _texts: &Arc<Texts>) -> Result<Asked> {
    match &spec.teacher {
        TeacherSpec::Attributes { graded, noise } => {
            let teacher = Attributes {
                catalogue: Arc::clone(&opened.catalogue),
                graded: *graded,
                noise: *noise,
                seed: spec.requests.seed,
            };
            Ok(Asked { teacher: Arc::new(teacher), users_at_once: USERS_AT_ONCE })
        }
    }
}
