import path from 'node:path'

/** Our templates. The path is the same from `lib` and from the built `dist`. */
export const viewsDirectory: string = path.resolve(import.meta.dirname, '../../views')
