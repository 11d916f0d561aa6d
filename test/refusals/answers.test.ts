import { nothingRemains, refuses, useScene } from '../support/scene.ts'
import { answers } from './tables/answers.ts'

const scene = useScene()

refuses(scene, answers)
nothingRemains(scene)
