//! Owns `upscaled models remove`: a model leaves the state directory, unless a folder needs it.

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
        if let Some(folder) = config.folders.iter().find(|folder| folder.recipe.model == *name) {
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
