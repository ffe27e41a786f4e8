/** Sends the reports of a folder, and prints how many, or the error's code and message. */
import process from "node:process";
import { sendReports } from "../../mod.ts";

const [folder = "", to = ""] = process.argv.slice(2);
try {
  console.log(await sendReports(folder, new URL(to)));
} catch (error) {
  const { code, message } = error as { code?: string; message: string };
  console.log(`${code}: ${message}`);
}
