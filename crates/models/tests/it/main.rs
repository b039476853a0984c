//! The public face of the models: the forest's properties, its quality, hostile bytes, and the scikit-learn oracle.

mod forest_oracle;
mod forest_properties;
mod forest_quality;
mod forest_stored;
mod world;
