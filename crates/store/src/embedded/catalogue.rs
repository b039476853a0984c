//! Which series there are: each has a number, under which its points lie.

use std::collections::{BTreeMap, HashMap};

use forewarn_types::{DEFAULT_TENANT, ResourceKey};

use super::Error;
use super::folder::Folder;
use crate::metrics::line::{encode, parse_head};

/// Number of a series.
pub(super) type Id = u32;

/// A series under its stored names.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) measurement: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) field: String,
}

/// All series, by number, by name, and by resource.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    series: BTreeMap<Id, Known>,
    /// By measurement and tags as they are written, then by field: a vector's fields stand together.
    names: HashMap<Box<str>, Vec<(Box<str>, Id)>>,
    /// By the tags `tenant` (empty for the default one) and `resource`.
    resources: HashMap<(String, String), Vec<Id>>,
    next: Id,
}

impl Catalogue {
    /// Reads all of them.
    pub(super) fn read(folder: &Folder) -> Result<Self, Error> {
        let mut catalogue = Self::default();
        for (id, name) in folder.series()? {
            let (head, field) = name.rsplit_once('\n').ok_or_else(|| folder.foreign())?;
            catalogue
                .add(id, head, field)
                .ok_or_else(|| folder.foreign())?;
        }
        Ok(catalogue)
    }

    /// The number of a series.
    pub(super) fn find(&self, head: &str, field: &str) -> Option<Id> {
        let fields = self.names.get(head)?;
        fields
            .iter()
            .find(|(name, _)| &**name == field)
            .map(|(_, id)| *id)
    }

    /// The next number, which is the series' once it is [`add`](Self::add)ed; none when there are no more.
    pub(super) fn next(&self) -> Option<Id> {
        (self.next < Id::MAX).then_some(self.next)
    }

    /// Under which name the folder keeps a series: neither part has a line break.
    pub(super) fn name(head: &str, field: &str) -> String {
        format!("{head}\n{field}")
    }

    /// Adds a series; `None` if its name is none that we write.
    pub(super) fn add(&mut self, id: Id, head: &str, field: &str) -> Option<()> {
        let (measurement, tags) = parse_head(head)?;
        let owner = (
            tags.get("tenant").cloned().unwrap_or_default(),
            tags.get("resource").cloned().unwrap_or_default(),
        );
        self.resources.entry(owner).or_default().push(id);
        self.names
            .entry(head.into())
            .or_default()
            .push((field.into(), id));
        let known = Known {
            measurement,
            tags,
            field: field.to_owned(),
        };
        self.series.insert(id, known);
        self.next = self.next.max(id.saturating_add(1));
        Some(())
    }

    /// All series.
    pub(super) fn all(&self) -> impl Iterator<Item = (Id, &Known)> {
        self.series.iter().map(|(id, known)| (*id, known))
    }

    /// The series of a resource.
    pub(super) fn of(&self, resource: &ResourceKey) -> impl Iterator<Item = (Id, &Known)> {
        let tenant = match resource.tenant.as_str() {
            DEFAULT_TENANT => String::new(),
            tenant => encode(tenant).into_owned(),
        };
        let owner = (tenant, encode(&resource.resource).into_owned());
        let ids = self.resources.get(&owner).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.series.get(id)?)))
    }
}
