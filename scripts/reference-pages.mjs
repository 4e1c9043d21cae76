// Plug-in of typedoc: shorter pages that begin with what they have. Members are listed where they are declared, not again
// in all that inherits them; type parameters stand in the signatures alone; links lead to headings as code hosts name them.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Converter, ReflectionKind, RendererEvent } from 'typedoc';

const TYPES = ReflectionKind.Interface | ReflectionKind.Class;
const TYPE_PARAMETERS = /^(<a id="[^"]*"><\/a>\n\n)?#+ Type Parameters\n\n(?:\|.*\n)+\n*/gm;
const HEADING = /^(?:<a id="([^"]*)"><\/a>\n\n)?(#+) (.*)\n/gm;
const CODE = /^```.*?^```/gms;

export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_END, ({ project }) => {
    const inherited = project
      .getReflectionsByKind(TYPES)
      .flatMap(({ children = [] }) => children)
      .filter(({ inheritedFrom, overwrites }) => inheritedFrom?.reflection !== undefined && overwrites === undefined);
    for (const member of inherited) project.removeReflection(member);
  });
  app.renderer.on(RendererEvent.END, ({ outputDirectory, pages }) => {
    const files = pages.map(({ url }) => path.join(outputDirectory, url));
    const texts = files.map(file => readFileSync(file, 'utf8').replace(TYPE_PARAMETERS, '').replace(/ +$/gm, ''));
    const headings = new Map(files.map((file, i) => [file, headingsOf(texts[i])]));
    for (const [i, file] of files.entries()) {
      const linked = texts[i]
        .replace(HEADING, '$2 $3\n')
        .replace(/\]\(([^)#\s]*)#([^)\s]+)\)/g, (link, page, anchor) => {
          const target = page === '' ? file : path.join(path.dirname(file), page);
          const heading = headings.get(target)?.find(heading => heading.anchor === anchor);
          return heading === undefined ? link : `](${page}#${heading.fragment})`;
        });
      writeFileSync(file, withContents(linked, headings.get(file)).replace(/\n{3,}/g, '\n\n'));
    }
  });
}

/** The headings of a page: typedoc's anchor and the fragment by which a code host leads there. */
function headingsOf(text) {
  const seen = new Map();
  return [...text.replace(CODE, '').matchAll(HEADING)].map(([, anchor, level, title]) => {
    const words = title.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '');
    const slug = words.trim().replace(/\s/g, '-');
    const before = seen.get(slug) ?? 0;
    seen.set(slug, before + 1);
    return { anchor, level: level.length, title, fragment: before === 0 ? slug : `${slug}-${before}` };
  });
}

/** A page with links to its entries, by group, before the first group. */
function withContents(text, headings) {
  const groups = [];
  for (const { level, title, fragment } of headings) {
    if (level === 2) groups.push({ title, links: [] });
    if (level === 3) groups.at(-1)?.links.push(`[${title}](#${fragment})`);
  }
  const filled = groups.filter(({ links }) => links.length > 0);
  const contents = filled.map(({ title, links }) => `**${title}:** ${links.join(', ')}\n\n`);
  return text.replace(/^## /m, `${contents.join('')}## `);
}
