import { nothingRemains, refuses, useScene } from '../support/scene.ts'
import { idToken } from './tables/id-token.ts'
import { algorithms, signatures } from './tables/signatures.ts'

const scene = useScene()

refuses(scene, [...signatures, ...algorithms, ...idToken])
nothingRemains(scene)
