// An imageFolder in a Worker, of what the main thread found.
import { ImageFolder, type ImageFolderParts } from "./image_folder.ts";

export default (parts: ImageFolderParts): ImageFolder => new ImageFolder(parts);
