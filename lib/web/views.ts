import { existsSync } from 'node:fs'
import path from 'node:path'
import ejs from 'ejs'
import { viewsDirectory } from '../paths.ts'

/** The templates: ours, and a host's in place of those of the same name. */
export interface Views {
  /**
   * @param name without its ending, such as `picker`
   * @param escaped makes a value fit for where it is printed; default for HTML
   */
  render(name: string, locals: object, escaped?: (value: unknown) => string): Promise<string>
}

/** @param viewsDir the host's folder */
export function createViews(viewsDir: string | undefined): Views {
  const views = viewsDir === undefined ? [viewsDirectory] : [viewsDir, viewsDirectory]
  // EJS looks beside the including file first: without this a host could not replace a partial alone.
  const includer = (name: string) => ({ filename: findView(views, name) })
  return {
    render: (name, locals, escaped) =>
      ejs.renderFile(findView(views, name), locals, {
        views,
        includer,
        cache: process.env.NODE_ENV === 'production',
        ...(escaped && { escape: escaped }),
      }),
  }
}

/** @param name without its ending, such as `picker` or `partials/head` */
function findView(directories: readonly string[], name: string): string {
  const found = directories.map((directory) => path.join(directory, `${name}.ejs`)).find(existsSync)
  if (found === undefined) throw new Error(`no view is called ${name}`)
  return found
}
