/** Servers on the loopback address: an origin of modules, and a package registry of one package. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { join, normalize } from "node:path";

const contentTypes = {
  ".ts": "application/typescript",
  ".json": "application/json",
};

/** Serves `answer(path, origin)`, null for what is not there. Gives the origin and how to stop. */
async function serve(answer) {
  const requested = [];
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    requested.push(pathname);
    const found = answer(pathname, origin());
    if (found === null) response.statusCode = 404;
    else response.setHeader("content-type", found.type);
    response.end(found?.body);
  });
  const origin = () => `http://127.0.0.1:${server.address().port}`;
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    origin: origin(),
    requested,
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(resolve);
      }),
  };
}

/** Serves the files below `folder`. */
export function serveFiles(folder) {
  return serve((path) => {
    const file = join(folder, normalize(path));
    if (!existsSync(file) || !statSync(file).isFile()) return null;
    const extension = /\.\w+$/.exec(path)?.[0];
    const type = contentTypes[extension] ?? "application/octet-stream";
    return { type, body: readFileSync(file) };
  });
}

/** Serves one package as a registry does. */
export function serveRegistry(manifest, tarball) {
  const { name, version } = manifest;
  const bytes = readFileSync(tarball);
  const hash = (algorithm, encoding) => createHash(algorithm).update(bytes).digest(encoding);
  const integrity = `sha512-${hash("sha512", "base64")}`;
  const path = `/${name}/-/${name}-${version}.tgz`;
  return serve((asked, origin) => {
    if (asked === path) return { type: "application/octet-stream", body: bytes };
    if (asked !== `/${name}`) return null;
    const dist = { tarball: `${origin}${path}`, integrity, shasum: hash("sha1", "hex") };
    const versions = { [version]: { ...manifest, dist } };
    const body = JSON.stringify({ name, "dist-tags": { latest: version }, versions });
    return { type: "application/json", body };
  });
}
