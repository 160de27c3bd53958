-- Schema 12.

-- Models whose vectors are kept beside those of the current model, each under a name of the owner's; their vectors, windows
-- and logits lie in the same tables. The current model has a row only if it was a space of this kind before.
-- generation, vectors, windows: of this model, as state has them of the current one. Filled by: voisin space.
CREATE TABLE spaces (
    model      INTEGER PRIMARY KEY REFERENCES models (id) ON DELETE CASCADE,
    name       TEXT    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    generation INTEGER NOT NULL DEFAULT 0,
    vectors    INTEGER NOT NULL DEFAULT 0,
    windows    INTEGER NOT NULL DEFAULT 0
) STRICT;

-- As changes, of each space.
CREATE TABLE space_changes (
    space      INTEGER NOT NULL REFERENCES spaces (model) ON DELETE CASCADE,
    generation INTEGER NOT NULL,
    track      INTEGER NOT NULL,
    change     INTEGER NOT NULL,
    PRIMARY KEY (space, generation)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER space_begun AFTER INSERT ON spaces BEGIN
    UPDATE spaces SET vectors = (SELECT count(*) FROM vectors WHERE model = new.model),
        windows = (SELECT coalesce(sum(count), 0) FROM windows WHERE model = new.model) WHERE model = new.model;
END;
CREATE TRIGGER space_vector_added AFTER INSERT ON vectors WHEN new.model IN (SELECT model FROM spaces) BEGIN
    UPDATE spaces SET generation = generation + 1, vectors = vectors + 1 WHERE model = new.model;
    INSERT INTO space_changes SELECT model, generation, new.track, 0 FROM spaces WHERE model = new.model;
    DELETE FROM space_changes WHERE space = new.model
        AND generation <= (SELECT generation FROM spaces WHERE model = new.model) - 131072;
END;
CREATE TRIGGER space_vector_replaced AFTER UPDATE OF vector ON vectors WHEN new.model IN (SELECT model FROM spaces) BEGIN
    UPDATE spaces SET generation = generation + 1 WHERE model = new.model;
    INSERT INTO space_changes SELECT model, generation, new.track, 1 FROM spaces WHERE model = new.model;
    DELETE FROM space_changes WHERE space = new.model
        AND generation <= (SELECT generation FROM spaces WHERE model = new.model) - 131072;
END;
CREATE TRIGGER space_vector_removed AFTER DELETE ON vectors WHEN old.model IN (SELECT model FROM spaces) BEGIN
    UPDATE spaces SET generation = generation + 1, vectors = vectors - 1 WHERE model = old.model;
    INSERT INTO space_changes SELECT model, generation, old.track, 2 FROM spaces WHERE model = old.model;
    DELETE FROM space_changes WHERE space = old.model
        AND generation <= (SELECT generation FROM spaces WHERE model = old.model) - 131072;
END;
CREATE TRIGGER space_windows_counted AFTER INSERT ON windows WHEN new.model IN (SELECT model FROM spaces) BEGIN
    UPDATE spaces SET windows = windows + new.count WHERE model = new.model;
END;
CREATE TRIGGER space_windows_recounted AFTER UPDATE OF count ON windows WHEN new.model IN (SELECT model FROM spaces) BEGIN
    UPDATE spaces SET windows = windows - old.count + new.count WHERE model = new.model;
END;
CREATE TRIGGER space_windows_discounted AFTER DELETE ON windows WHEN old.model IN (SELECT model FROM spaces) BEGIN
    UPDATE spaces SET windows = windows - old.count WHERE model = old.model;
END;
