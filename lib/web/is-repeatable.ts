import type { Request } from 'express'

/** Whether an address alone can ask for it again: a redirect may lead back to it, and none of its forms is lost. */
export function isRepeatable({ method }: Request): boolean {
  return method === 'GET' || method === 'HEAD'
}
