-- What models cost is kept in files (docs/decisions/0009): nothing ever read or wrote this table.
DROP TABLE IF EXISTS model_profiles;
