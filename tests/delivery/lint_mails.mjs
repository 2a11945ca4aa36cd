// What mail programs do not support of the HTML of the mails, by the tables of caniemail.com. `.ci/lint-mails` runs it.
import { readdirSync, readFileSync } from "node:fs";
import { caniemail } from "caniemail";

// All programs whose support is known.
const CLIENTS = [
  "aol.*", "apple-mail.*", "fastmail.*", "gmail.*", "gmx.*", "hey.*", "ionos-1and1.*", "laposte.desktop-webmail", "mail-ru.*",
  "orange.*", "outlook.*", "protonmail.*", "samsung-email.*", "sfr.*", "thunderbird.macos", "web-de.*", "yahoo.*",
];

// What the mails have though some program ignores it, and what its readers then see.
const ACCEPTED = {
  "<body> element": "replaced by another element; the table inside has the colors, too",
  "<style> element": "the light colors, which are inline",
  "@media": "the light colors, which are inline",
  "border-radius": "square corners",
  "dir attribute": "right-to-left text that is aligned to the left",
  "height property": "nothing: what is found is line-height",
  "lang attribute": "nothing",
  "role attribute": "nothing; a screen reader may name a table",
  "text-decoration": "an underlined button",
  "width attribute": "a mail as wide as its text",
};

const files = readdirSync(".").filter((name) => name.endsWith(".html"));
let failed = files.length === 0;
for (const file of files) {
  const { issues } = caniemail({ clients: CLIENTS, html: readFileSync(file, "utf8") });
  for (const [client, found] of issues.errors) {
    for (const { title, position } of found) {
      if (!(title in ACCEPTED)) {
        console.error(`${file}:${position?.start.line ?? 1}: ${client} does not support ${title}`);
        failed = true;
      }
    }
  }
}
process.exitCode = failed ? 1 : 0;
