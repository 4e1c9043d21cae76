"""Writes the files beside it. Run with pyarrow 25.0.1, pandas 3.0.6, polars 1.44.2, safetensors 0.8.0, NumPy 2.4.6, ml_dtypes
0.6.0: what these libraries write where nothing else is asked for, and the compressions that they offer."""

import ml_dtypes
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet
from safetensors.numpy import save_file

ROWS = [[1.0, -0.5], [0.25, 2.0], [3.0, 1e-3]]
BESIDE = {"id": ["a", "b", "c"], "label": [4, 5, 4]}
HOLES = {
    "null": [[1, 2], None, [3, 4]],
    "hole": [[1, 2], [3, None], [3, 4]],
    "ragged": [[1, 2], [3], [3, 4]],
}


def arrow_file(name, table, rows=None, new=pa.ipc.new_file):
    with pa.OSFile(f"{name}.arrow", "wb") as file, new(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)


frame = pd.DataFrame({**BESIDE, "embedding": [np.array(row, "float32") for row in ROWS]})
table = pa.table({**BESIDE, "embedding": pa.array(ROWS, pa.list_(pa.float32(), 2))})
columns = pa.table(
    {
        "id": BESIDE["id"],
        "x0": pa.array([row[0] for row in ROWS], pa.float32()),
        "x1": pa.array([row[1] for row in ROWS], pa.float64()),
    }
)
half = pa.table({"embedding": pa.array([np.array(row, "float16") for row in ROWS], pa.list_(pa.float16(), 2))})
double = pa.table({"embedding": pa.array(ROWS, pa.list_(pa.float64()))})

frame.to_parquet("pandas.parquet")
frame.to_parquet("pandas-gzip.parquet", compression="gzip")
parquet.write_table(table, "groups.parquet", row_group_size=2)
parquet.write_table(table, "none.parquet", compression="none")
for name, other in [("columns", columns), ("half", half), ("double", double)]:
    parquet.write_table(other, f"{name}.parquet")
    arrow_file(name, other)
for name, rows in HOLES.items():
    other = pa.table({"embedding": pa.array(rows, pa.list_(pa.float32()))})
    parquet.write_table(other, f"{name}.parquet")
    arrow_file(name, other)
array = pl.Series(ROWS, dtype=pl.Array(pl.Float32, 2))
pl.DataFrame({**BESIDE, "embedding": array}).write_parquet("polars.parquet")
pl.DataFrame({**BESIDE, "embedding": ROWS}).write_ipc("polars.arrow")

feather.write_feather(table, "lz4.feather")
feather.write_feather(table, "zstd.feather", compression="zstd")
feather.write_feather(table, "plain.feather", compression="uncompressed")
words = table.set_column(0, "id", table["id"].dictionary_encode())
feather.write_feather(words, "dictionary.feather", compression="uncompressed")
arrow_file("batches", table, 2)
arrow_file("stream", table, 2, pa.ipc.new_stream)

save_file(
    {"embeddings": np.array(ROWS, "float32"), "bias": np.zeros(3, "float32")}, "numpy.safetensors", metadata={"a": "b"}
)
np.save("numpy.npy", np.array(ROWS, "float32"))
np.save("fortran.npy", np.asfortranarray(np.array(ROWS, ">f8")))
np.save("bfloat16.npy", np.array(ROWS, ml_dtypes.bfloat16))
np.savetxt("numpy.csv", np.array(ROWS), delimiter=",")

frame.to_csv("pandas.csv")
pd.DataFrame(ROWS).to_csv("pandas-numbers.csv")
pl.DataFrame({"id": BESIDE["id"], "x": [row[0] for row in ROWS], "y": [row[1] for row in ROWS]}).write_csv("polars.csv")
frame.to_json("pandas.json")
for orient in ["records", "index", "table"]:
    frame.to_json(f"pandas-{orient}.json", orient=orient)
frame.to_json("pandas.jsonl", orient="records", lines=True)
pl.DataFrame({"e": ROWS}).write_json("polars.json")
pl.DataFrame({"e": ROWS}).write_ndjson("polars.ndjson")
