//! Owns `upscaled models remove`: a model leaves the state directory, unless a folder needs it.

use std::path::Path;

use super::super::exit::Failure;
use super::super::out::Out;
use crate::config::Config;
use crate::inference::Catalogue;

/// Removes models by name; the first that cannot be removed ends it.
pub fn remove(
    out: &mut Out,
    config: &Config,
    catalogue: &Catalogue,
    names: &[String],
) -> Result<(), Failure> {
    for name in names {
        let file = catalogue.file_of(name)?;
        // A folder may name the file by its path, too.
        let same = |model: &str| model == name || is_same(Path::new(model), &file);
        if let Some(folder) = config.folders.iter().find(|folder| same(&folder.recipe.model)) {
            return Err(Failure::usage(format!(
                "cannot remove {name}: the folder {} uses it; give that folder another model first",
                folder.name
            )));
        }
        let path = catalogue.remove(name)?;
        out.line(format_args!("removed {name} ({})", path.display()))?;
    }
    Ok(())
}

fn is_same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
