/** Maps the file that the argument names, and says why that was refused. */
import process from "node:process";
import { mapFile } from "../../mod.ts";

try {
  using file = mapFile(process.argv[2]!);
  console.log(file.bytes.length);
} catch (error) {
  console.log((error as Error).message);
}
